"""Repositories on other machines: by SFTP through a real sshd, and in a bucket of an S3 server."""

from __future__ import annotations

import pytest
from house import Stage
from repository_stage import PASSWORD, described
from servers import keygen, s3_server, ssh_server

from supervisor.errors import Invalid, SupervisorError, Unavailable
from supervisor.managers.backups.repositories import RepositoryManager
from supervisor.managers.backups.repository_backup import Part, Root
from supervisor.managers.backups.repository_files import Secrets
from supervisor.managers.backups.repository_place import parse

pytestmark = pytest.mark.timeout(600)


async def _round_trip(stage: Stage, manager: RepositoryManager) -> None:
    parts = [Part("share", (Root(".", stage.share),))]
    (stage.share / "sparse").unlink()
    # What would not come back to a shared folder, from wherever.
    (stage.share / "dangling").unlink()
    (stage.share / "setgid").chmod(0o755)
    await stage.save(manager, "aaaa1111", parts)
    back = stage.folder / "back"
    back.mkdir(mode=0o700)
    await stage.contents(manager).fetch("nas", "aaaa1111", "share", back)
    assert described(back) == described(stage.share)
    assert (await manager.verify("nas", 100)).good
    (stage.share / "more").write_text("more")
    await stage.save(manager, "bbbb2222", parts)
    await manager.forget("nas", ["aaaa1111"])
    await manager.prune("nas", stage.clock.tzinfo)  # type: ignore[arg-type]
    assert list(manager.get("nas").backups) == ["bbbb2222"]


async def test_a_repository_lies_on_another_machine_by_sftp(stage: Stage) -> None:
    server = await ssh_server(stage.folder / "server")
    manager = stage.manager()
    await manager.load()
    server.allow(await manager.public_key())
    place = parse(server.url(stage.folder / "remote repository"))
    async with server.running():
        await manager.add("nas", place, Secrets(PASSWORD), adopt=False)
        await _round_trip(stage, manager)
        assert (stage.folder / "remote repository" / "config").exists()
        fingerprint = manager.host_fingerprint("nas")
        assert fingerprint is not None
        assert fingerprint.startswith("ssh-ed25519 SHA256:")
        config = (stage.files.of("nas") / "ssh_config").read_text()
        assert "StrictHostKeyChecking yes" in config


async def test_a_server_that_is_another_one_gets_nothing(stage: Stage) -> None:
    server = await ssh_server(stage.folder / "server")
    manager = stage.manager()
    await manager.load()
    server.allow(await manager.public_key())
    place = parse(server.url(stage.folder / "remote"))
    async with server.running():
        await manager.add("nas", place, Secrets(PASSWORD), adopt=False)
    (server.folder / "host_key").rename(server.folder / "old_key")
    await keygen(server.folder / "host_key")
    async with server.running():
        with pytest.raises(Invalid) as refused:
            await manager.reload("nas")
        assert refused.value.key == "backup_repository_host_key"
    pinned = Secrets(PASSWORD, host_key="ssh-ed25519 " + (server.host_key.split()[1]))
    async with server.running():
        with pytest.raises(SupervisorError) as wrong:
            await manager.add("other", parse(server.url(stage.folder / "x")), pinned, adopt=False)
        assert wrong.value.key == "backup_repository_host_key"


async def test_a_key_that_the_server_does_not_know_and_a_server_that_is_away_are_told_apart(stage: Stage) -> None:
    server = await ssh_server(stage.folder / "server")
    manager = stage.manager()
    await manager.load()
    private = stage.folder / "mine"
    server.allow(await keygen(private))
    place = parse(server.url(stage.folder / "remote"))
    with pytest.raises(Unavailable) as away:
        await manager.add("nas", place, Secrets(PASSWORD), adopt=False)
    assert away.value.key == "backup_repository_unreachable"
    async with server.running():
        with pytest.raises(Invalid) as refused:
            await manager.add("nas", place, Secrets(PASSWORD), adopt=False)
        assert refused.value.key == "backup_repository_access_denied"
        await manager.add("nas", place, Secrets(PASSWORD, private_key=private.read_text()), adopt=False)
    assert (stage.files.of("nas") / "ssh_key").stat().st_mode & 0o777 == 0o600


async def test_a_repository_lies_in_a_bucket(stage: Stage) -> None:
    manager = stage.manager()
    await manager.load()
    async with s3_server(stage.folder) as address:
        place = parse(f"s3+http://{address}/backups/home")
        secrets = Secrets(PASSWORD, access_key="test-key", secret_key="test-secret", region="eu-west-1")
        await manager.add("nas", place, secrets, adopt=False)
        await _round_trip(stage, manager)
        other = stage.manager()
        await other.load()
        await other.reload("nas")
        assert list(other.get("nas").backups) == ["bbbb2222"]
    with pytest.raises(Unavailable) as away:
        await manager._engine.verify(stage.files.access("nas", parse("s3+http://127.0.0.1:1/backups/home")), 0, 0)
    assert away.value.key == "backup_repository_unreachable"
    assert "test-secret" not in (stage.folder / "backup_repositories.json").read_text()
