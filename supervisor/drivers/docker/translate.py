"""Foreign exceptions become ours, here and nowhere else (add-on contract §5.2)."""

from __future__ import annotations

import errno
import http.client
import re
from collections.abc import Iterator
from contextlib import contextmanager

import docker.errors
import requests
import urllib3.exceptions

from supervisor.drivers.docker.registry import registry_of
from supervisor.errors import (
    DOCKER_NO_SPACE,
    DOCKER_PORT_CONFLICT,
    DOCKER_REGISTRY_AUTH,
    DOCKERHUB_RATE_LIMIT,
    GHCR_RATE_LIMIT,
    REGISTRY_RATE_LIMIT,
    Conflict,
    Internal,
    Invalid,
    NotFound,
    SupervisorError,
    Timeout,
    Unavailable,
    Unsupported,
)
from supervisor.model.registries import DOCKER_HUB

FOREIGN = (
    docker.errors.DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)

RATE_LIMIT_URL = "https://www.docker.com/increase-rate-limit"

_PORT_TAKEN = re.compile(r"(?:port is already allocated|address already in use)\s*$")
_PORT = re.compile(r"(?:0\.0\.0\.0|\[?::\]?|127\.0\.0\.1):(\d{1,5})\b")
_AUTH = re.compile(
    r"unauthorized|no basic auth credentials|authentication required|incorrect username or password|access denied",
    re.IGNORECASE,
)
_MISSING = re.compile(r"manifest unknown|not found|no such image|repository does not exist", re.IGNORECASE)
_RATE = re.compile(r"toomanyrequests|too many requests|(?:status|response|HTTP)[^\n]{0,60}?\b429\b", re.IGNORECASE)
# What a registry or the way to it may do better a moment later, in the engine's words.
_PASSING = re.compile(
    r"connection (?:refused|reset|timed out)|broken pipe|\bEOF\b|i/o timeout|handshake timeout"
    r"|deadline exceeded|client\.timeout|request canceled|no route to host|network is unreachable"
    r"|server misbehaving|temporary failure|(?:status|response|HTTP)[^\n]{0,60}?\b5\d\d\b"
    r"|unavailable|internal server error|bad gateway|gateway time-?out|verification failed|unexpected commit",
    re.IGNORECASE,
)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise what comes out of the block as an error of ours; `what` names the work, as in "Starting addon_x"."""
    try:
        yield
    except SupervisorError:
        raise
    except FOREIGN as err:
        raise translate(err, what) from err


def translate(err: BaseException, what: str) -> SupervisorError:
    if isinstance(err, SupervisorError):
        return err
    if isinstance(err, docker.errors.APIError):
        return _refusal(status_of(err), explanation_of(err), what)
    if isinstance(err, docker.errors.InvalidVersion):
        return Unsupported(f"{what} needs a newer Docker engine: {err}")
    if is_timeout(err):
        return Timeout(f"{what}: the Docker engine did not answer in time")
    if isinstance(err, docker.errors.StreamParseError):
        return Unavailable(f"{what}: the Docker engine's answer makes no sense")
    if isinstance(err, docker.errors.DockerException):
        cause = err.__cause__
        if isinstance(cause, FOREIGN):
            return translate(cause, what)
        return Unavailable(f"{what}: {err}")
    if isinstance(err, requests.RequestException | urllib3.exceptions.HTTPError | http.client.HTTPException):
        return Unavailable(f"{what}: the Docker engine is not reachable ({_root(err)})")
    if isinstance(err, OSError) and err.errno == errno.ENOSPC:
        return DOCKER_NO_SPACE()
    if isinstance(err, OSError):
        return Unavailable(f"{what}: the Docker engine is not reachable ({err.strerror or err})")
    return Unavailable(f"{what}: the Docker engine's answer makes no sense")


def status_of(err: docker.errors.APIError) -> int:
    return int(err.status_code or 0)


def explanation_of(err: docker.errors.APIError) -> str:
    """The engine's own words."""
    return str(err.explanation or err).strip()


def is_timeout(err: BaseException) -> bool:
    """Whether a read or a connect took too long; requests hides that in a connection error while streaming."""
    seen: set[int] = set()
    found: BaseException | None = err
    while found is not None and id(found) not in seen:
        if isinstance(found, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
            return True
        seen.add(id(found))
        nested = next((arg for arg in found.args if isinstance(arg, BaseException)), None)
        found = nested or found.__cause__
    return False


def port_conflict(name: str, text: str) -> SupervisorError | None:
    """Read the engine's refusal to start `name`; None when it is not about a port of the host."""
    if not _PORT_TAKEN.search(text):
        return None
    port = _PORT.search(text)
    return None if port is None else DOCKER_PORT_CONFLICT(name=name, port=int(port[1]))


def pull_error(image: str, text: str, *, status: int = 0, with_login: bool) -> SupervisorError:
    """What the engine's refusal of a pull means."""
    registry = registry_of(image)
    if status == requests.codes.too_many_requests or _RATE.search(text):
        if registry == DOCKER_HUB:
            return DOCKERHUB_RATE_LIMIT(dockerhub_rate_limit_url=RATE_LIMIT_URL)
        return GHCR_RATE_LIMIT() if registry == "ghcr.io" else REGISTRY_RATE_LIMIT()
    if text.rstrip().lower().endswith("no space left on device"):
        return DOCKER_NO_SPACE()
    if status == requests.codes.unauthorized or _AUTH.search(text):
        if with_login:
            return DOCKER_REGISTRY_AUTH(registry=registry)
        return Invalid(f"Registry {registry} wants a login for {image}, or has no such image: {text}")
    if status == requests.codes.not_found or _MISSING.search(text):
        return NotFound(f"There is no image {image}: {text}")
    if _PASSING.search(text):
        return Unavailable(f"Pulling {image} failed: {text}")
    return Internal(f"Pulling {image} failed: {text}")


def _refusal(status: int, text: str, what: str) -> SupervisorError:
    message = f"{what}: {text}"
    if status == requests.codes.not_found:
        return NotFound(message)
    if status == requests.codes.conflict or (status == requests.codes.forbidden and "already in use" in text):
        return Conflict(message)
    if status == requests.codes.bad_request:
        return Invalid(message)
    if text.lower().endswith("no space left on device"):
        return DOCKER_NO_SPACE()
    if status == requests.codes.service_unavailable:
        return Unavailable(message)
    return Internal(message)


def _root(err: BaseException) -> str:
    """The innermost reason of a nested transport error."""
    nested = next((arg for arg in err.args if isinstance(arg, BaseException)), None)
    nested = nested or getattr(err, "reason", None)
    if isinstance(nested, BaseException) and nested is not err:
        return _root(nested)
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    return str(err) or type(err).__name__
