"""Manifests of the whole world: accepted ones are read as the contract says, refusals name the key or the place."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from corpus.accepted import ACCEPTED, Accepted
from corpus.rejected import BOMBS, CANARY, REJECTED, Rejected

from supervisor.errors import Invalid
from supervisor.managers.store.index import Place, StoreIndex
from supervisor.model.config_file import read_config_file
from supervisor.model.lint import check_folder
from supervisor.model.manifest import Manifest, MapFolder, Ulimit
from supervisor.model.manifest_schema import validate_manifest

MEMORY = 400 * 2**20
SECONDS = 240


def write(folder: Path, case: Accepted | Rejected) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"config{case.suffix}"
    file.write_bytes(case.raw)
    return file


def plain(value: Any) -> Any:
    """Return a manifest's value as the corpus writes it."""
    if isinstance(value, MapFolder):
        return value.read_only, value.path
    if isinstance(value, Ulimit):
        return value.soft, value.hard
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def test_the_corpus_is_large() -> None:
    assert len(ACCEPTED) + len(REJECTED) >= 250


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_accepted_manifest_is_read_as_the_contract_says(tmp_path: Path, name: str) -> None:
    case = ACCEPTED[name]
    config, remarks = validate_manifest(read_config_file(write(tmp_path, case)))
    manifest = Manifest.from_config(config)
    assert {key: plain(getattr(manifest, key)) for key in case.expected} == case.expected
    assert len(remarks) == len(case.remarks), remarks
    for word in case.remarks:
        assert any(word in remark for remark in remarks), remarks
    # It is kept as JSON, and read again at every start.
    again, _ = validate_manifest(json.loads(json.dumps(config)))
    assert again == config
    assert Manifest.from_config(again) == manifest


@pytest.mark.parametrize("name", REJECTED)
def test_a_refusal_names_what_is_wrong(tmp_path: Path, name: str) -> None:
    case = REJECTED[name]
    file = write(tmp_path, case)
    begin = time.process_time()
    with pytest.raises(Invalid) as refused:
        validate_manifest(read_config_file(file))
    assert time.process_time() - begin < 10
    for word in case.words:
        assert word in refused.value.message
    assert not Path(CANARY).exists()


def test_a_repository_of_all_of_them_offers_exactly_the_good_ones(tmp_path: Path) -> None:
    root = tmp_path / "a0d7b954"
    cases: dict[str, Accepted | Rejected] = {**ACCEPTED, **REJECTED}
    for number, case in enumerate(cases.values()):
        write(root / str(number), case)
    (root / "repository.yaml").write_text("name: All\n")
    scan = StoreIndex().scan([Place("a0d7b954", root)])["a0d7b954"]
    names = list(cases)
    assert {names[int(addon.folder.name)] for addon in scan.addons} == set(ACCEPTED)


def test_the_check_for_authors_agrees_and_places_every_error(tmp_path: Path) -> None:
    for name, case in {**ACCEPTED, **REJECTED}.items():
        folder = tmp_path / name
        write(folder, case)
        rules = {"schema", "syntax", "no-manifest"}
        errors = [found for found in check_folder(folder).findings if found.rule in rules]
        assert bool(errors) is (name in REJECTED), (name, errors)


READER = """
import resource, sys, time
from pathlib import Path
from supervisor.errors import Invalid
from supervisor.model.config_file import read_config_file
from supervisor.model.lint import check_folder
from supervisor.model.manifest_schema import validate_manifest
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
for file in sorted(Path(sys.argv[2]).glob("*/config.*")):
    begin = time.process_time()
    try:
        validate_manifest(read_config_file(file))
    except Invalid:
        check_folder(file.parent)
        print(file.parent.name, f"{time.process_time() - begin:.2f}")
    else:
        raise SystemExit(f"{file} was accepted")
"""


def test_bombs_are_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    for name, case in BOMBS.items():
        write(tmp_path / name, case)
    command = (sys.executable, "-c", READER, str(MEMORY), str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    seconds = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert set(seconds) == set(BOMBS)
    assert max(map(float, seconds.values())) < 5
