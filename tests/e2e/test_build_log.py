"""What a build said can be read afterwards, above all when it failed."""

from __future__ import annotations

from test_load import command

from daemon import BASE, Daemon, until


async def test_a_failed_build_shows_the_end_of_its_log_and_where_all_of_it_is(daemon: Daemon) -> None:
    slug = daemon.add_on("broken")
    lines = [f"FROM {BASE}", *(f"RUN echo step {number}" for number in range(15)), "RUN echo the reason; false"]
    (daemon.data / "addons" / "local" / "broken" / "Dockerfile").write_text("\n".join(lines))
    await daemon.start()
    missing = await daemon.ask("GET", f"/addons/{slug}/logs/build")
    assert (missing.status, missing.body) == (404, None)

    failed = await command(daemon, "addons", "install", slug)
    assert failed.code == 8 or failed.code == 1, failed
    assert "The last lines of the build's log" in failed.err
    assert "  the reason\n" in failed.err
    assert "returned a non-zero code: 1" in failed.err
    assert "step 0\n" not in failed.err
    assert f"supervisor addons logs {slug} --build" in failed.err

    whole = await command(daemon, "addons", "logs", slug, "--build")
    assert whole.code == 0
    assert "step 0\n" in whole.out
    assert whole.out.splitlines()[-1].endswith("returned a non-zero code: 1")
    assert (
        await command(daemon, "addons", "logs", slug, "--build", "-n", "1")
    ).out == f"{whole.out.splitlines()[-1]}\n"
    assert (await command(daemon, "addons", "logs", slug, "--build", "--follow")).code == 2

    (daemon.data / "addons" / "local" / "broken" / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo well\n")
    await daemon.install(slug)
    assert "well" in (await daemon.ask("GET", f"/addons/{slug}/logs/build")).text
    for path in ("..%2F..%2Fconfig", "none", "a%00b"):
        assert (await daemon.ask("GET", f"/addons/{path}/logs/build")).status in {400, 404}


async def test_a_build_whose_log_finds_no_room_counts_all_the_same(daemon: Daemon) -> None:
    slug = daemon.add_on("lamp")
    # Stands for a full disk: no file can get this name.
    (daemon.data / "logs" / f"build_{slug}.log").mkdir(parents=True)
    await daemon.start()
    await daemon.install(slug, start=True)
    kept = f"{slug}: the log of its build can't be kept: Is a directory"
    await until(lambda: kept in daemon.log, 30)
    assert "Traceback" not in daemon.log
