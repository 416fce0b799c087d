"""Stages for tests of repositories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from house import Stage
from repository_stage import every_kind_of_file


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    made.paths.create()
    every_kind_of_file(made.share)
    (made.share / "sub" / "junk.tmp").write_text("junk")
    (made.addon / "deep").mkdir(parents=True)
    (made.addon / "deep" / "file").write_text("of the add-on")
    os.mkfifo(made.addon / "pipe")
    return made
