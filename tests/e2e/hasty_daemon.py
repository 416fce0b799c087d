"""Runs the daemon so that what it does by itself every few hours it does every second, with what is new at once."""

from __future__ import annotations

import sys

import supervisor.assembly.steps
import supervisor.managers.addons.auto_update
from supervisor.__main__ import main

supervisor.assembly.steps.AUTO_UPDATE_SECONDS = 1
supervisor.managers.addons.auto_update.SEASONING_SECONDS = 0.0

if __name__ == "__main__":
    sys.argv[0] = "supervisor"
    main()
