"""A whole Debian host with systemd as its first process, in namespaces of this machine: see README.md."""
