"""A git server made of nothing but protocol: it sends a pack of any size without having it."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Iterator

import attrs
from aiohttp import web

COMMIT = "a" * 40
BLOB = 3
STORED = 65_535
LINE = 65_515


def packet(content: bytes) -> bytes:
    return f"{len(content) + 4:04x}".encode() + content


@attrs.define
class PackServer:
    """Says that it has one commit, and begins to send a pack with one file of `size` bytes for it."""

    size: int
    sent: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Speak version 2 of the smart protocol (gitprotocol-v2, gitformat-pack)."""
        body = await request.read()
        if request.method == "GET":
            said = [b"version 2\n", b"ls-refs=unborn\n", b"fetch=shallow\n", b"object-format=sha1\n"]
            content = packet(b"# service=git-upload-pack\n") + b"0000" + b"".join(map(packet, said)) + b"0000"
            return web.Response(body=content, content_type="application/x-git-upload-pack-advertisement")
        headers = {"Content-Type": "application/x-git-upload-pack-result"}
        if b"command=ls-refs" in body:
            return web.Response(body=packet(f"{COMMIT} HEAD\n".encode()) + b"0000", headers=headers)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(packet(b"shallow-info\n") + packet(f"shallow {COMMIT}".encode()) + b"0001")
        await response.write(packet(b"packfile\n"))
        try:
            for block in self._pack():
                # Writing to somebody who has gone is no error, and the loop must turn for it to be noticed.
                await asyncio.sleep(0)
                if request.transport is None or request.transport.is_closing():
                    break
                lines = (block[begin : begin + LINE] for begin in range(0, len(block), LINE))
                await response.write(b"".join(packet(b"\x01" + line) for line in lines))
                self.sent += len(block)
        except ConnectionError:
            pass
        return response

    def _pack(self) -> Iterator[bytes]:
        """Yield the pack in large pieces; it has no end worth waiting for."""
        yield b"PACK" + struct.pack(">II", 2, 1) + self._entry() + b"\x78\x01"
        block = b"\x00" + struct.pack("<HH", STORED, STORED ^ 0xFFFF) + os.urandom(STORED)
        for _ in range(self.size // (16 * STORED)):
            yield 16 * block

    def _entry(self) -> bytes:
        left = self.size >> 4
        written = [BLOB << 4 | self.size & 0xF]
        while left:
            written[-1] |= 0x80
            written.append(left & 0x7F)
            left >>= 7
        return bytes(written)
