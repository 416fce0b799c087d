"""What is remembered of an installed add-on: the entry in `addons.json` (add-on contract §3.11)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

import attrs
import voluptuous as vol

from supervisor.errors import Invalid
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_schema import validate_manifest
from supervisor.model.validators import docker_image, network_ports, required_version, token, uuid_hex

from .limits import Limits

_text = vol.Any(None, str)

USER_SCHEMA = vol.Schema(
    {
        vol.Required("version"): required_version,
        vol.Optional("image"): docker_image,
        vol.Optional("uuid"): uuid_hex,
        vol.Optional("access_token"): token,
        vol.Optional("access_token_sha256"): vol.All(str, vol.Match(r"^[0-9a-f]{64}$")),
        vol.Optional("ingress_token"): str,
        vol.Optional("options", default=dict): dict,
        vol.Optional("auto_update", default=False): bool,
        vol.Optional("watchdog", default=False): bool,
        vol.Optional("ingress_panel", default=False): bool,
        vol.Optional("system_managed", default=False): bool,
        vol.Optional("system_managed_config_entry", default=None): _text,
        vol.Optional("protected", default=True): bool,
        vol.Optional("boot"): vol.In(["auto", "manual"]),
        vol.Optional("network"): vol.Any(None, network_ports),
        vol.Optional("audio_input"): _text,
        vol.Optional("audio_output"): _text,
        vol.Optional("should_run", default=False): bool,
        vol.Optional("limits", default=dict): object,
    },
    extra=vol.REMOVE_EXTRA,
)

INTERNAL_KEYS = ("repository", "translations", "location", "version_timestamp")


def new_ingress_token() -> str:
    return secrets.token_urlsafe(32)


def hash_token(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


@attrs.define
class AddonRecord:
    """The user's side and the frozen copy of the manifest that the add-on was installed with.

    The API token is kept as its SHA-256 only: the add-on's container has the token itself. `should_run` is the intent:
    the add-on was started and nobody stopped it since. `limits` are ours; another system drops them.
    """

    slug: str
    repository: str
    manifest: Manifest
    translations: Mapping[str, Any]
    version: str
    image: str
    uuid: str = attrs.field(factory=lambda: secrets.token_hex(16))
    token_hash: str | None = None
    ingress_token: str = attrs.field(factory=new_ingress_token)
    options: dict[str, Any] = attrs.field(factory=dict)
    auto_update: bool = False
    watchdog: bool = False
    ingress_panel: bool = False
    system_managed: bool = False
    system_managed_config_entry: str | None = None
    protected: bool = True
    boot: str | None = None
    network: dict[str, int | None] | None = None
    audio_input: str | None = None
    audio_output: str | None = None
    should_run: bool = False
    limits: Limits = attrs.field(factory=Limits)

    @property
    def image_reference(self) -> str:
        return f"{self.image}:{self.version}"

    @classmethod
    def from_stored(cls, slug: str, user: dict[str, Any], system: dict[str, Any], image: str | None) -> AddonRecord:
        """Build the record from a checked `user` part and a raw `system` part.

        `image` serves where the entry names none, as old files do.

        Raises:
            Invalid: the stored manifest makes no sense any more.
        """
        config, _ = validate_manifest({key: value for key, value in system.items() if key not in INTERNAL_KEYS})
        stored_image = user.get("image") or image
        repository = system.get("repository")
        if not isinstance(repository, str) or not isinstance(stored_image, str):
            raise Invalid(f"The stored entry of add-on {slug} names no repository or image")
        translations = system.get("translations")
        token_hash = user.get("access_token_sha256")
        if token_hash is None and "access_token" in user:
            token_hash = hash_token(user["access_token"])
        plain = {
            key: user[key]
            for key in ("uuid", "ingress_token", "boot", "network", "audio_input", "audio_output")
            if key in user
        }
        return cls(
            slug,
            repository,
            Manifest.from_config(config),
            translations if isinstance(translations, dict) else {},
            user["version"],
            stored_image,
            token_hash=token_hash,
            options=user["options"],
            auto_update=user["auto_update"],
            watchdog=user["watchdog"],
            ingress_panel=user["ingress_panel"],
            system_managed=user["system_managed"],
            system_managed_config_entry=user["system_managed_config_entry"],
            protected=user["protected"],
            should_run=user["should_run"],
            limits=Limits.from_stored(user["limits"]),
            **plain,
        )

    def user_part(self) -> dict[str, Any]:
        """Return the entry for the file's `user` part."""
        fields = attrs.asdict(self, recurse=False)
        for key in ("slug", "repository", "manifest", "translations", "token_hash"):
            del fields[key]
        for key in ("boot", "network", "audio_input", "audio_output"):
            if fields[key] is None:
                del fields[key]
        del fields["limits"]
        if limits := self.limits.as_stored():
            fields["limits"] = limits
        if self.token_hash is not None:
            fields["access_token_sha256"] = self.token_hash
        return fields

    def system_part(self) -> dict[str, Any]:
        """Return the entry for the file's `system` part."""
        return {**self.manifest.config, "repository": self.repository, "translations": dict(self.translations)}


_PARTS = vol.Schema({str: object})
_FILE = vol.Schema(
    {vol.Optional("user", default=dict): _PARTS, vol.Optional("system", default=dict): _PARTS}, extra=vol.REMOVE_EXTRA
)


def addons_schema(data: Any) -> dict[str, dict[str, Any]]:
    """Check the outline of `addons.json`; entries are judged one by one, so that none takes the others with it.

    Raises:
        vol.Invalid: the file as a whole is something else.
    """
    checked: dict[str, dict[str, Any]] = _FILE(data)
    return checked


def check_user_part(user: object) -> dict[str, Any]:
    """Return the `user` part of an entry with its defaults.

    Raises:
        Invalid: it makes no sense.
    """
    try:
        checked: dict[str, Any] = USER_SCHEMA(user)
    except vol.Invalid as err:
        raise Invalid(str(err)) from err
    return checked
