"""The `supervisor` command: a client of the daemon's API for people and scripts, and the door to `supervisor run`."""
