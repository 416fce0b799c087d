"""Wait until the daemon behind a socket is running, then print its version. Used by script/run.

Usage: await_ready.py SOCKET PID. Ends with 1 when the process ends first, or when two minutes did not suffice.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("supervisor", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path: str) -> dict[str, object]:
    connection = UnixConnection(path)
    try:
        connection.request("GET", "/info")
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return dict(answer.get("data") or {})


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> int:
    path, pid = sys.argv[1], int(sys.argv[2])
    end = time.monotonic() + 120
    while alive(pid) and time.monotonic() < end:
        try:
            info = ask(path)
        except (OSError, ValueError, http.client.HTTPException):
            info = {}
        if info.get("state") == "running":
            print(info.get("supervisor"))
            return 0
        time.sleep(0.2)
    return 1


if __name__ == "__main__":
    sys.exit(main())
