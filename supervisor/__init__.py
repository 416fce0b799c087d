"""Turns a Linux machine with Docker into a home server."""

__version__ = "2026.11.0"
