"""The progress of a pull, out of the engine's messages about layers (add-on contract §4.8)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from docker import auth
from docker.errors import APIError

from supervisor.drivers.docker.registry import RegistryCredentials, pull_name
from supervisor.drivers.docker.translate import explanation_of, pull_error, status_of
from supervisor.drivers.docker.wire import EngineClient, OpenSockets

DOWNLOAD_SHARE = 0.7
# Bytes that move by less than a per cent are told too, but not at each of the engine's messages.
REPORT_SECONDS = 0.5

_RETRYING = re.compile(r"^Retrying in \d+ seconds?")


@attrs.frozen
class PullProgress:
    """`percent` 0-100 never falls; `downloaded` and `total` are bytes of the layers whose size is known by now."""

    percent: float
    stage: str
    downloaded: int
    total: int


@attrs.define
class _Layer:
    size: int = 0
    received: int = 0
    download: float = 0.0
    extraction: float = 0.0
    exists: bool = False

    @property
    def value(self) -> float:
        return DOWNLOAD_SHARE * self.download + (1 - DOWNLOAD_SHARE) * self.extraction


def pull(
    client: EngineClient,
    sockets: OpenSockets,
    image: str,
    tag: str,
    *,
    platform: str,
    credentials: RegistryCredentials | None,
    sizes: Mapping[str, int],
    report: Callable[[PullProgress], None] | None,
) -> None:
    """Pull `image:tag`; `report` is called in this thread when the progress moved. Blocking."""
    with_login = credentials is not None
    params = {"fromImage": pull_name(image), "tag": tag, "platform": platform}
    tracker = PullTracker(sizes)
    teller = _Teller(report)
    try:
        answer = client.open(sockets, "POST", "/images/create", params=params, headers=_login_header(credentials))
    except APIError as err:
        raise pull_error(image, explanation_of(err), status=status_of(err), with_login=with_login) from err
    with answer as stream:
        for message in stream.messages():
            if "error" in message:
                raise pull_error(image, str(message["error"]), with_login=with_login)
            tracker.feed(message)
            teller.tell(tracker.progress)
    tracker.finish()
    teller.tell(tracker.progress)


class _Teller:
    """Passes on what is news: another stage, another per cent, or bytes after a moment."""

    def __init__(self, report: Callable[[PullProgress], None] | None) -> None:
        self._report = report
        self._told: PullProgress | None = None
        self._time = 0.0

    def tell(self, now: PullProgress) -> None:
        told, moment = self._told, time.monotonic()
        if self._report is None or now == told:
            return
        news = told is None or now.stage != told.stage or now.percent - told.percent >= 1
        if news or moment - self._time >= REPORT_SECONDS:
            self._told, self._time = now, moment
            self._report(now)


def _login_header(credentials: RegistryCredentials | None) -> dict[str, str]:
    login = {}
    if credentials is not None:
        login = {
            "username": credentials.username,
            "password": credentials.password,
            "serveraddress": credentials.host,
        }
    return {"X-Registry-Auth": auth.encode_header(login).decode()}


class PullTracker:
    """Turns the engine's messages of one pull into progress.

    `sizes` weighs the layers (first 12 hex of the digest -> bytes) where they are known beforehand; else all weigh
    the same.
    """

    def __init__(self, sizes: Mapping[str, int] | None = None) -> None:
        self._sizes = sizes or {}
        self._layers: dict[str, _Layer] = {}
        self._percent = 0.0
        self._started = False
        self._done = False

    @property
    def progress(self) -> PullProgress:
        layers = self._layers.values()
        return PullProgress(
            round(self._percent, 1),
            self._stage(),
            sum(min(layer.received, layer.size) for layer in layers),
            sum(layer.size for layer in layers),
        )

    def feed(self, message: Mapping[str, Any]) -> None:
        """Take one message; what it can't mean is ignored."""
        identity, status = message.get("id"), message.get("status")
        if not isinstance(identity, str) or not isinstance(status, str):
            return
        if not self._apply(identity, status, _detail(message)):
            return
        if not self._started:
            return
        self._percent = max(self._percent, min(100.0, 100 * self._mean()))

    def finish(self) -> None:
        """The pull ended well."""
        self._done = True
        self._percent = 100.0

    def _apply(self, identity: str, status: str, detail: Mapping[str, Any]) -> bool:
        layer = self._layers.get(identity)
        if layer is None:
            if status not in _FIRST_WORDS and not _RETRYING.match(status):
                return False
            layer = self._layers[identity] = _Layer(size=self._sizes.get(identity, 0))
        if status == "Already exists":
            layer.exists = True
            layer.size = 0
        elif status == "Downloading":
            self._started = True
            self._download(layer, detail)
        elif status in {"Verifying Checksum", "Download complete"}:
            self._started = True
            layer.download = 1.0
            layer.size = max(layer.size, 1)
            layer.received = layer.size
        elif status == "Extracting":
            # An engine that is busy may have told nothing of the download.
            layer.size = layer.size if layer.size > 1 else max(layer.size, _total(detail))
            layer.download, layer.received = 1.0, layer.size
            layer.extraction = max(layer.extraction, _ratio(detail))
        elif status == "Pull complete":
            self._started = True
            layer.download = layer.extraction = 1.0
            layer.size = max(layer.size, 1)
            layer.received = layer.size
        elif _RETRYING.match(status):
            layer.download, layer.received = 0.0, 0
        return True

    @staticmethod
    def _download(layer: _Layer, detail: Mapping[str, Any]) -> None:
        current, total = _number(detail.get("current")), _number(detail.get("total"))
        if total > 0:
            layer.size = total
        layer.received = current
        layer.download = _ratio(detail)

    def _mean(self) -> float:
        layers = {name: layer for name, layer in self._layers.items() if not layer.exists}
        if not layers:
            return 0.0
        weights = {name: self._sizes.get(name, 0) for name in layers} if self._sizes else {}
        if not weights or not all(weights.values()):
            weights = dict.fromkeys(layers, 1)
        return sum(weights[name] * layer.value for name, layer in layers.items()) / sum(weights.values())

    def _stage(self) -> str:
        if self._done:
            return "Pull complete"
        waiting = [layer for layer in self._layers.values() if not layer.exists]
        if not waiting or any(layer.download < 1 for layer in waiting):
            return "Downloading"
        if any(layer.extraction < 1 for layer in waiting):
            return "Extracting"
        return "Pull complete"


_FIRST_WORDS = frozenset(
    {
        "Pulling fs layer",
        "Waiting",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        "Pull complete",
        "Already exists",
    }
)


def _detail(message: Mapping[str, Any]) -> Mapping[str, Any]:
    detail = message.get("progressDetail")
    return detail if isinstance(detail, dict) else {}


def _number(value: object) -> int:
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _total(detail: Mapping[str, Any]) -> int:
    """Bytes in all; the containerd image store reports seconds instead, which say nothing."""
    return 0 if detail.get("units") == "s" else _number(detail.get("total"))


def _ratio(detail: Mapping[str, Any]) -> float:
    """Bytes done of all."""
    total = _total(detail)
    return min(1.0, _number(detail.get("current")) / total) if total else 0.0
