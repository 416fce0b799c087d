"""Makes the two read-only layers of every box, and keeps them: Debian's packages, and our files over them.

`python -m hostbox.build` prints nothing when both are there already. They are named after their recipe, so working
copies with different recipes do not build over one another; what no recipe has asked for in a week is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from hostbox import recipe
from hostbox.namespaces import mount, unmount

CACHE = Path(os.environ.get("SUPERVISOR_TEST_CACHE", "/var/cache/supervisor-test")) / "hostbox"
UNUSED_SECONDS = 7 * 86400


@attrs.frozen
class Layers:
    packages: Path
    files: Path

    def __str__(self) -> str:
        """The form that an overlay mount wants."""
        return f"{self.files}:{self.packages}"


def ensure() -> Layers:
    """Return the layers of the present recipe, after building what is missing. Takes about a minute at first."""
    layers = Layers(CACHE / f"packages-{recipe.packages_digest()}", CACHE / f"files-{recipe.files_digest()}")
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked():
        if not layers.packages.is_dir():
            _build_packages(layers.packages)
        if not layers.files.is_dir():
            _build_files(layers)
        for layer in (layers.packages, layers.files):
            os.utime(layer)
        _prune()
    return layers


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prune() -> None:
    for layer in [*CACHE.glob("packages-*"), *CACHE.glob("files-*")]:
        if time.time() - layer.stat().st_mtime > UNUSED_SECONDS:
            remove(layer)


def remove(tree: Path) -> None:
    subprocess.run(["rm", "-rf", "--one-file-system", tree], check=True)


def _say(text: str) -> None:
    sys.stderr.write(f"hostbox: {text}\n")
    sys.stderr.flush()


def _sources(suite: str) -> list[Path]:
    """This machine's own package sources: nobody else knows a mirror."""
    apt = Path("/etc/apt")
    candidates = [*apt.glob("sources.list.d/*.sources"), *apt.glob("sources.list.d/*.list"), apt / "sources.list"]
    wanted = re.compile(rf"^[^#\n]*\b{suite}\b", re.MULTILINE)
    found = sorted(path for path in candidates if path.is_file() and wanted.search(path.read_text()))
    if not found:
        raise RuntimeError(f"no package source for {suite} in /etc/apt")
    return found


def _build_packages(layer: Path) -> None:
    suite, new = recipe.suite(), layer.with_suffix(".new")
    downloads, log = CACHE / "downloads", CACHE / "build.log"
    downloads.mkdir(exist_ok=True)
    remove(new)
    _say(f"making a Debian {suite} (about a minute; {log})")
    began = time.monotonic()
    # dpkg itself leaves out what nobody reads here, and need not be afraid of a power cut.
    settings = "".join(f"path-exclude=/{folder}/*\n" for folder in recipe.DOCUMENTATION) + "force-unsafe-io\n"
    (CACHE / "dpkg.cfg").write_text(settings)
    prepare = (
        f'mkdir -p "$1/var/cache/apt/archives" "$1/etc/dpkg/dpkg.cfg.d" && '
        f'cp {CACHE}/dpkg.cfg "$1/etc/dpkg/dpkg.cfg.d/hostbox" && '
        f'find {downloads} -name "*.deb" -exec cp -l -t "$1/var/cache/apt/archives" {{}} +'
    )
    keep = f'find "$1/var/cache/apt/archives" -name "*.deb" -exec cp -lf -t {downloads} {{}} +'
    # A box reaches no mirror, and its name is nobody's business.
    clean = 'rm -f "$1"/var/cache/apt/archives/*.deb "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/sources.list'
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        "--format=directory",
        # Downloads are kept as hard links beside: the next build fetches what is new alone.
        "--skip=essential/unlink,download/empty",
        "--include=" + ",".join(recipe.PACKAGES),
        '--aptopt=Apt::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Check-Valid-Until "false"',
        f"--setup-hook={prepare}",
        f"--customize-hook={keep}",
        f"--customize-hook={clean}",
        suite,
        str(new),
        *map(str, _sources(suite)),
    ]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    with log.open("w") as output:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, check=False
        )
    if done.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"mmdebstrap failed:\n{tail}")
    for folder in recipe.DOCUMENTATION:
        remove(new / folder)
    new.rename(layer)
    _say(f"made in {time.monotonic() - began:.0f} s")


def _build_files(layers: Layers) -> None:
    new, work, root = (CACHE / f"files.{part}" for part in ("new", "work", "root"))
    for folder in (new, work, root):
        remove(folder)
        folder.mkdir()
    mount("overlay", root, "overlay", options=f"lowerdir={layers.packages},upperdir={new},workdir={work}")
    try:
        _furnish(root)
    finally:
        unmount(root)
    new.rename(layers.files)
    remove(work)
    remove(root)


def _furnish(root: Path) -> None:
    """Make of a plain Debian the host that the tests want."""
    for name in recipe.FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for source in sorted(recipe.FILES.rglob("*")):
        if source.is_file():
            target = root / source.relative_to(recipe.FILES)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(source, target)
            # NetworkManager takes connections that nobody else can read alone.
            private = target.suffix == ".nmconnection"
            target.chmod(0o600 if private else 0o755 if os.access(source, os.X_OK) else 0o644)
    for name in recipe.DROPPED:
        (root / name).unlink(missing_ok=True)
    for name, ours in recipe.REPLACED.items():
        program = root / name
        program.rename(program.with_name(program.name + ".real"))
        shutil.copy(root / ours, program)
    for name in recipe.SHARE_HELPERS:
        shutil.copy(root / "usr/lib/hostbox/network-share", root / name)
    (root / "etc/fstab").write_text("")
    (root / "etc/machine-id").write_text("")
    (root / "boot/slots/primary").write_text("A\n")
    for name in ("A", "B"):
        (root / "boot/slots" / name).write_text("good\n")
    for slot in recipe.SLOTS:
        with (root / f"var/lib/slots/{slot}.img").open("wb") as image:
            image.truncate(4 << 20)
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.symlink_to("/run/systemd/resolve/stub-resolv.conf")
    _in(root, "systemctl", "enable", *recipe.ENABLED)
    _in(root, "systemctl", "mask", *recipe.MASKED)
    _in(
        root,
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7300", "-subj", "/CN=hostbox test"),
        *("-keyout", "/etc/rauc/test.key", "-out", "/etc/rauc/test.crt"),
    )
    shutil.copy(root / "etc/rauc/test.crt", root / "etc/rauc/keyring.pem")
    shim = root / "usr/lib/hostbox/shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", shim, recipe.SHIM], check=True)


def _in(root: Path, *command: str) -> None:
    done = subprocess.run(["chroot", root, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")


if __name__ == "__main__":
    ensure()
