"""What an add-on asks for and what that does to its security rating (add-on contract §2.8)."""

from __future__ import annotations

from supervisor.model.manifest import Manifest
from supervisor.model.rating import HIGHEST, POWERFUL, apparmor_state, effects, rating

from .finding import Notes


def check_rights(notes: Notes, manifest: Manifest, *, has_profile: bool) -> None:
    """Note each right that lowers the rating, with the rating that users will see."""
    state = apparmor_state(manifest, has_profile=has_profile)
    points = rating(manifest, state)
    shown = f"users see a security rating of {points} of {HIGHEST}"
    decisive = [key for key in ("docker_api", "full_access") if getattr(manifest, key)]
    for key in decisive:
        notes.advice("rights", (key,), f"makes the rating 1 whatever else there is; {shown}")
    if decisive:
        return
    for effect in effects(manifest, state):
        if effect.change < 0:
            names = ", ".join(name for name in manifest.privileged if name in POWERFUL)
            because = f" ({names})" if effect.key == "privileged" else ""
            notes.advice("rights", (effect.key,), f"lowers the rating by {-effect.change}{because}; {shown}")
