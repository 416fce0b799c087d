"""The URL templates of manifests: a link to the web page, and the watchdog's address (add-on contract §1.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.model.validators import text

_MAX_LENGTH: Final = 2048
_PROTO: Final = r"(?:(?P<scheme>{schemes})|\[PROTO:(?P<option>\w+)\])"
_WEBUI = re.compile(
    _PROTO.format(schemes="https?") + r"://\[HOST\]:\[PORT:(?P<mapped>[0-9]{1,5})\](?P<rest>\S*)",
)
_WATCHDOG = re.compile(
    _PROTO.format(schemes="https?|tcp")
    + r"://\[HOST\]:(?:\[PORT:(?P<mapped>[0-9]{1,5})\]|(?P<fixed>[0-9]{1,5})(?![0-9]))(?P<rest>\S*)",
)


@attrs.frozen
class _Template:
    """`scheme`, or the `option` whose truth picks `https` over `http`; the container's `port`; what follows it."""

    scheme: str | None
    option: str | None
    port: int
    rest: str

    def chosen_scheme(self, options: Mapping[str, Any]) -> str:
        if self.scheme is not None:
            return self.scheme
        return "https" if options.get(self.option or "") else "http"


@attrs.frozen
class WebUi(_Template):
    """The link to an add-on's own web page."""

    @classmethod
    def parse(cls, template: str) -> WebUi:
        """Take a template apart.

        Raises:
            vol.Invalid: it doesn't follow the grammar.
        """
        return cls(**_parts(_WEBUI, template, "expected a URL such as http://[HOST]:[PORT:80]/"))

    def render(self, ports: Mapping[str, int | None] | None, options: Mapping[str, Any]) -> str | None:
        """Return the link with `[HOST]` left for the browser; none when the port is declared but closed."""
        port = _effective(ports, self.port)
        if port is None:
            return None
        return f"{self.chosen_scheme(options)}://[HOST]:{port}{self.rest}"


@attrs.frozen
class WatchdogTarget:
    """Where to knock: by TCP alone when `scheme` is `tcp`, else with a GET of `url`."""

    scheme: str
    host: str
    port: int
    url: str


@attrs.frozen
class WatchdogUrl(_Template):
    """The address whose answer tells that an add-on is well."""

    @classmethod
    def parse(cls, template: str) -> WatchdogUrl:
        """Take a template apart.

        Raises:
            vol.Invalid: it doesn't follow the grammar.
        """
        return cls(**_parts(_WATCHDOG, template, "expected a URL such as tcp://[HOST]:[PORT:80]"))

    def render(
        self,
        host: str,
        ports: Mapping[str, int | None] | None,
        options: Mapping[str, Any],
        *,
        host_network: bool,
    ) -> WatchdogTarget:
        """Return what to probe. `host` is the container's address, or the gateway's for the host network.

        Only on the host network does a mapped port differ from the container's own.
        """
        port = (_effective(ports, self.port) or self.port) if host_network else self.port
        scheme = self.chosen_scheme(options)
        shown_host = f"[{host}]" if ":" in host else host
        return WatchdogTarget(scheme, host, port, f"{scheme}://{shown_host}:{port}{self.rest}")


def webui(value: Any) -> str:
    """Accept a web page template; a building block for the manifest's schema."""
    WebUi.parse(text(value))
    return str(value)


def watchdog(value: Any) -> str:
    """Accept a watchdog template; a building block for the manifest's schema."""
    WatchdogUrl.parse(text(value))
    return str(value)


def _parts(grammar: re.Pattern[str], template: str, expected: str) -> dict[str, Any]:
    found = grammar.fullmatch(template) if len(template) <= _MAX_LENGTH else None
    if found is None:
        raise vol.UrlInvalid(expected)
    groups = found.groupdict()
    port = int(groups["mapped"] or groups["fixed"])
    if not 1 <= port <= 65535:
        raise vol.UrlInvalid("expected a URL with a port from 1 to 65535")
    return {"scheme": groups["scheme"], "option": groups["option"], "port": port, "rest": groups["rest"]}


def _effective(ports: Mapping[str, int | None] | None, port: int) -> int | None:
    """Return the host's port for a container's TCP port: itself when not listed, none when closed."""
    for key in (f"{port}/tcp", str(port)):
        if ports is not None and key in ports:
            return ports[key]
    return port
