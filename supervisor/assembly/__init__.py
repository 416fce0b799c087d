"""Builds every part and hands each what it needs. The only room that knows them all.

Each module builds one part of the house; `daemon.py` puts them together and runs the whole.
"""

from .daemon import run_daemon

__all__ = ["run_daemon"]
