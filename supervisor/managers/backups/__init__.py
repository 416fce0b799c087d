"""Backups: archives and repositories, when they are made, how long they are kept."""
