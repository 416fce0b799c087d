"""Tests that would take the user's engine refuse to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", ["contract/test_bare_machine.py", "e2e/test_life.py"])
def test_without_a_word_about_the_engine_nothing_runs(file: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "DOCKER_HOST"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{file}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "run them by script/test" in done.stdout + done.stderr
    assert "passed" not in done.stdout
