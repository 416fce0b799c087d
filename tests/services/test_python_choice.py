"""Which Python the scripts make the virtualenv from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def chosen(path: str) -> str:
    script = "set -euo pipefail; . script/lib/python.sh; choose_python"
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_the_virtualenv_is_not_made_from_itself_when_it_comes_first_in_the_path() -> None:
    outside = ":".join(folder for folder in os.environ["PATH"].split(":") if folder != f"{ROOT}/.venv/bin")
    assert (ROOT / ".venv/bin/python3").exists()
    assert chosen(f"{ROOT}/.venv/bin:{outside}") == chosen(outside) != ""


def test_where_there_is_none_nothing_is_chosen(tmp_path: Path) -> None:
    for tool in ("tr", "grep", "paste", "bash"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    assert chosen(str(tmp_path)) == ""
