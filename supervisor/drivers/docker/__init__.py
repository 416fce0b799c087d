"""The Docker engine: the only place that knows the Docker SDK.

`engine.Engine` holds the connection; its `containers`, `images` and `network` do the work. `spec` describes a
container, `model` is what the engine tells. Every call raises the errors of `supervisor.errors` only.
"""
