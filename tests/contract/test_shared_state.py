"""What the tests of this folder rely on: a daemon that all share is left as it was."""

from __future__ import annotations

from shared_state import SETTINGS, settings

from daemon import Daemon


async def test_whatever_a_test_sets_can_be_put_back(daemon: Daemon) -> None:
    for (shown, key), value in (await settings(daemon)).items():
        await daemon.post(SETTINGS[shown][0], {key: value})
