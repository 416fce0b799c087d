"""Pack, check and unpack the folder `source` below the given one; print the peak of memory above the start, in MB."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from supervisor.drivers.archive.content import Tree
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import ArchiveReader
from supervisor.drivers.archive.rules import Rules
from supervisor.drivers.archive.unpack import check, unpack
from supervisor.drivers.archive.work import Work
from supervisor.drivers.archive.writer import ArchiveWriter


def peak() -> float:
    # Not what getrusage tells: that remembers the process before exec.
    return int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1000


def main() -> None:
    root, password = Path(sys.argv[1]), sys.argv[2]
    idle = peak()
    with ArchiveWriter(root / "a.tar", compressed=True, password=password) as archive:
        archive.add("share.tar.gz", [Tree(".", root / "source")], Work())
        archive.finish(b"{}")
    (root / "target").mkdir()
    keyring = Keyring(password) if password else None
    with ArchiveReader(root / "a.tar") as reader:
        check(reader.inner["share.tar.gz"], keyring, Rules(), Work())
        unpack(reader.inner["share.tar.gz"], keyring, root / "target", Rules(), Work())
    sys.stdout.write(str(peak() - idle))


if __name__ == "__main__":
    main()
