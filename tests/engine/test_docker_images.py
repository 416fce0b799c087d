from __future__ import annotations

import asyncio
import io
import os
import platform
import tarfile
from pathlib import Path

import pytest
from engine_stage import root_filesystem, spec, until
from registry_proxy import serve_proxy

from supervisor import errors
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.pull import PullProgress
from supervisor.drivers.docker.registry import RegistryCredentials

ARCH = {"x86_64": "amd64", "aarch64": "aarch64"}[platform.machine()]


@pytest.fixture(scope="module")
def published(registry, docker_client, base_image) -> str:
    """An image of two layers, one of them worth a download, in the open registry."""
    layer = root_filesystem({"data/ballast": os.urandom(25_000_000)})
    docker_client.import_image_from_data(layer, repository="local/test-big", tag="1")
    dockerfile = io.BytesIO(b"FROM local/test-big:1\nCOPY Dockerfile /data/more\nLABEL io.hass.version=1.2\n")
    for line in docker_client.build(fileobj=dockerfile, tag="local/test-big:2", rm=True, decode=True):
        assert "error" not in line, line
    name = registry.push("local/test-big:2", "big", "2")
    for reference in ("local/test-big:2", "local/test-big:1"):
        docker_client.remove_image(reference, force=True)
    return name


async def test_a_pull_reports_progress_that_never_falls_and_ends_at_100(engine, published):
    seen: list[PullProgress] = []
    info = await engine.images.pull(published, "2", arch=ARCH, progress=seen.append)
    assert info.tags == (f"{published}:2",)
    assert info.labels["io.hass.version"] == "1.2"
    assert info.platform.startswith("linux/")
    percents = [progress.percent for progress in seen]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert seen[-1].stage == "Pull complete"
    assert any(progress.stage == "Downloading" for progress in seen)
    assert seen[-1].downloaded == seen[-1].total > 25_000_000
    assert any(0 < percent < 100 for percent in percents)
    again: list[PullProgress] = []
    assert (await engine.images.pull(published, "2", arch=ARCH, progress=again.append)).id == info.id
    assert again[-1].percent == 100
    await engine.images.remove(f"{published}:2")
    assert not await engine.images.exists(f"{published}:2")


async def test_an_unknown_tag_or_image_is_not_found(engine, registry, published):
    with pytest.raises(errors.NotFound, match="big"):
        await engine.images.pull(published, "99", arch=ARCH)
    with pytest.raises(errors.NotFound):
        await engine.images.pull(f"{registry.host}/svtest/none", "1", arch=ARCH)


async def test_a_pull_behind_a_login(engine, auth_registry, base_image):
    name = auth_registry.push(base_image, "private", "1")
    right = RegistryCredentials(auth_registry.host, auth_registry.username, auth_registry.password)
    wrong = RegistryCredentials(auth_registry.host, auth_registry.username, "guess")
    with pytest.raises(errors.Invalid, match="wants a login"):
        await engine.images.pull(name, "1", arch=ARCH)
    with pytest.raises(errors.Invalid) as caught:
        await engine.images.pull(name, "1", arch=ARCH, credentials=wrong)
    assert caught.value.key == "docker_registry_auth_error"
    assert caught.value.fields == {"registry": auth_registry.host}
    assert "guess" not in str(caught.value)
    info = await engine.images.pull(name, "1", arch=ARCH, credentials=right)
    assert info.id == (await engine.images.inspect(base_image)).id
    await engine.images.remove(f"{name}:1")


async def test_a_registry_that_is_away_is_a_clear_error(engine):
    with pytest.raises(errors.SupervisorError, match=r"127\.0\.0\.1:1/svtest/x"):
        await engine.images.pull("127.0.0.1:1/svtest/x", "1", arch=ARCH)


async def test_a_cancelled_pull_ends_its_stream(engine, registry, docker_client):
    layer = root_filesystem({"data/ballast": os.urandom(20_000_000)})
    docker_client.import_image_from_data(layer, repository="local/test-slow", tag="1")
    registry.push("local/test-slow:1", "slow", "1")
    docker_client.remove_image("local/test-slow:1", force=True)
    with serve_proxy(registry.host) as proxy:
        name, proxy.pause = f"{proxy.host}/svtest/slow", 0.2
        seen: list[PullProgress] = []
        pull = asyncio.create_task(engine.images.pull(name, "1", arch=ARCH, progress=seen.append))
        await until(lambda: pull.done() or any(progress.downloaded for progress in seen), 60)
        pull.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pull
        await until(lambda: proxy.given_up)
        assert not await engine.images.exists(f"{name}:1")


def write(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


async def test_a_build_gives_an_image_with_labels_and_arguments(engine, base_image, tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("secret")
    (tmp_path / ".dockerignore").write_text("# no\nignored\n")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/shadow")
    lines = f"FROM {base_image}\nARG WORD\nCOPY . /data/\nRUN echo $WORD > /data/word && ls -A /data\n"
    write(tmp_path, Dockerfile=lines, ignored="x", kept="x")
    log: list[str] = []
    info = await engine.images.build(
        context=tmp_path,
        dockerfile="Dockerfile",
        tag="local/test-built:1",
        build_args={"WORD": "hello"},
        labels={"io.hass.type": "addon"},
        log=log.append,
    )
    assert info.labels["io.hass.type"] == "addon"
    result = await engine.containers.run_once(
        spec("built", "sh", "-c", "cd /data; ls -A; cat word; readlink link", image="local/test-built:1"),
        timeout=60,
    )
    assert result.output.decode().split() == [
        *(".dockerignore", "Dockerfile", "kept", "link", "word"),
        "hello",
        "/etc/shadow",
    ]
    assert any("Step 1/" in line for line in log)
    assert "word" in log
    await engine.images.remove("local/test-built:1")


async def test_a_failing_build_tells_its_last_lines(engine, base_image, tmp_path):
    write(tmp_path, Dockerfile=f"FROM {base_image}\nRUN echo the-reason && exit 7\n")
    with pytest.raises(errors.Internal, match=r"(?s)returned a non-zero code: 7.*the-reason"):
        await engine.images.build(context=tmp_path, dockerfile="Dockerfile", tag="local/test-fails:1")
    assert not await engine.images.exists("local/test-fails:1")
    write(tmp_path, Dockerfile="NONSENSE\n")
    with pytest.raises(errors.Internal, match="NONSENSE"):
        await engine.images.build(context=tmp_path, dockerfile="Dockerfile", tag="local/test-fails:1")


async def test_a_dockerfile_outside_or_missing_is_invalid(engine, tmp_path):
    (tmp_path / "context").mkdir()
    write(tmp_path, Dockerfile="FROM x\n")
    (tmp_path / "context" / "linked").symlink_to(tmp_path / "Dockerfile")
    for dockerfile in ("../Dockerfile", str(tmp_path / "Dockerfile"), "linked", "missing", "."):
        with pytest.raises(errors.Invalid):
            await engine.images.build(context=tmp_path / "context", dockerfile=dockerfile, tag="local/test-fails:1")
    with pytest.raises(errors.Invalid):
        await engine.images.build(context=tmp_path / "none", dockerfile="Dockerfile", tag="local/test-fails:1")


async def test_an_image_can_be_saved_and_loaded(engine, docker_client, tmp_path):
    docker_client.import_image_from_data(root_filesystem({"data/x": b"1"}), repository="local/test-saved", tag="1")
    before = await engine.images.inspect("local/test-saved:1")
    await engine.images.save("local/test-saved:1", tmp_path / "image.tar")
    await engine.images.remove("local/test-saved:1")
    after = await engine.images.load(tmp_path / "image.tar")
    assert (after.id, after.tags) == (before.id, ("local/test-saved:1",))
    await engine.images.remove("local/test-saved:1")
    with pytest.raises(errors.NotFound):
        await engine.images.save("local/test-none:1", tmp_path / "none.tar")
    assert not (tmp_path / "none.tar").exists()
    with pytest.raises(errors.Internal, match="nowhere"):
        await engine.images.save((await engine.images.inspect("local/test-base:1")).id, Path("/proc/nowhere/x.tar"))


async def test_an_archive_with_no_image_or_two_is_refused(engine, docker_client, base_image, tmp_path):
    docker_client.import_image_from_data(root_filesystem({"data/y": b"2"}), repository="local/test-second", tag="1")
    answer = docker_client.get(
        f"{docker_client.base_url}/v{docker_client.api_version}/images/get",
        params={"names": [base_image, "local/test-second:1"]},
    )
    (tmp_path / "both.tar").write_bytes(answer.content)
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    (tmp_path / "nonsense.tar").write_bytes(b"x" * 2000)
    for name in ("both.tar", "empty.tar", "nonsense.tar", "absent.tar"):
        with pytest.raises(errors.Invalid):
            await engine.images.load(tmp_path / name)


async def test_cleanup_removes_old_images_but_none_kept_in_use_or_named_elsewhere(engine, docker_client):
    ids = {}
    for version in ("1", "2", "3", "4"):
        docker_client.import_image_from_data(
            root_filesystem({"data/version": version.encode()}), repository="local/test-clean", tag=version
        )
        ids[version] = (await engine.images.inspect(f"local/test-clean:{version}")).id
    await engine.images.tag("local/test-clean:3", "local/test-other:3")
    await engine.containers.run(spec("user", image="local/test-clean:4"))
    with pytest.raises(errors.NotFound):
        await engine.images.cleanup(keep=["local/test-clean:9"], names=["local/test-clean"])
    removed = await engine.images.cleanup(keep=["local/test-clean:2"], names=["local/test-clean"])
    assert removed == [ids["1"]]
    assert sorted(await engine.images.tags("local/test-clean")) == ["2", "4"]
    assert (await engine.images.inspect("local/test-other:3")).id == ids["3"]


async def test_tag_and_remove(engine: Engine, base_image: str):
    await engine.images.tag(base_image, "local/test-tagged:latest")
    assert await engine.images.exists("local/test-tagged:latest")
    await engine.images.remove("local/test-tagged:latest")
    await engine.images.remove("local/test-tagged:latest")
    with pytest.raises(errors.NotFound):
        await engine.images.tag("local/test-tagged:latest", "local/test-x:1")
    for reference in ("../containers", "a b", "x/../y:1", "", "UPPER/Case:1:2"):
        with pytest.raises(errors.Invalid):
            await engine.images.inspect(reference)
