"""The words in which an interface of a service is declared: kinds of values, properties, methods, signals."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, overload

import attrs

_LOGGER = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E", bound=Enum)
K = TypeVar("K")
P = ParamSpec("P")
T = TypeVar("T")

CALL_SECONDS = 10.0


@attrs.frozen
class Service:
    """A name on the bus, and how whoever owns it lives.

    `title` is what people know it as. `on_demand`: a call may have the bus start it. `idles`: it ends by itself when
    nobody asks it anything, so its absence is no loss as long as the bus can start it again. `late`: it takes its name
    before its objects are there, so one that is missing is asked for again.
    """

    name: str
    title: str
    on_demand: bool = False
    idles: bool = False
    late: bool = False


@attrs.frozen
class Kind(Generic[T]):
    """A type of D-Bus with its form in Python.

    `decode` is given plain values (variants are unwrapped) and raises TypeError or ValueError for what does not fit;
    `encode` makes what the library wants. With `values` above 1 it stands for that many values in a row, as a tuple.
    With `typed` the answer of a method keeps its variants, as `Variant`, so that it can be sent back as it came.
    """

    signature: str
    decode: Callable[[Any], T]
    encode: Callable[[T], Any] = lambda value: value
    values: int = 1
    typed: bool = False


def _is(python_type: type[T]) -> Callable[[Any], T]:
    def decode(value: Any) -> T:
        if not isinstance(value, python_type):
            raise TypeError(f"{type(value).__name__} instead of {python_type.__name__}")
        return value

    return decode


def _text_of_bytes(value: Any) -> str:
    if isinstance(value, int):
        raise TypeError("a number instead of bytes")
    return bytes(value).split(b"\0", 1)[0].decode(errors="surrogateescape")


NOTHING: Final[Kind[None]] = Kind("", lambda _: None, values=0)
STRING: Final = Kind("s", _is(str))
PATH: Final = Kind("o", _is(str))
BOOL: Final = Kind("b", _is(bool))
DOUBLE: Final = Kind("d", _is(float))
BYTE: Final = Kind("y", _is(int))
INT32: Final = Kind("i", _is(int))
INT64: Final = Kind("x", _is(int))
UINT16: Final = Kind("q", _is(int))
UINT32: Final = Kind("u", _is(int))
UINT64: Final = Kind("t", _is(int))
BYTES: Final = Kind("ay", bytes)
BYTE_STRING: Final[Kind[str]] = Kind("ay", _text_of_bytes, lambda text: text.encode(errors="surrogateescape") + b"\0")
VARIANT: Final[Kind[Any]] = Kind("v", lambda value: value)
VARDICT: Final[Kind[dict[str, Any]]] = Kind("a{sv}", _is(dict))


def array(item: Kind[T]) -> Kind[list[T]]:
    return Kind(
        "a" + item.signature,
        lambda values: [item.decode(value) for value in values],
        lambda values: [item.encode(value) for value in values],
    )


def mapping(key: Kind[K], item: Kind[T]) -> Kind[dict[K, T]]:
    return Kind(
        f"a{{{key.signature}{item.signature}}}",
        lambda values: {key.decode(name): item.decode(value) for name, value in values.items()},
        lambda values: {key.encode(name): item.encode(value) for name, value in values.items()},
    )


def struct(signature: str, decode: Callable[..., T], encode: Callable[[T], Any] = lambda value: value) -> Kind[T]:
    """Return the kind of a structure; `decode` is called with its members."""
    return Kind(f"({signature})", lambda members: decode(*members), encode)


def several(first: Kind[A], second: Kind[B]) -> Kind[tuple[A, B]]:
    """Return the kind of a method's two results."""
    return Kind(
        first.signature + second.signature, lambda values: (first.decode(values[0]), second.decode(values[1])), values=2
    )


def choice(values: type[E], raw: Kind[T]) -> Kind[E | T]:
    """Return the kind of an enumeration; a value that is not in it (yet) stays what it is, and is logged once."""
    logged: set[T] = set()

    def decode(value: Any) -> E | T:
        plain = raw.decode(value)
        try:
            return values(plain)
        except ValueError:
            if plain not in logged:
                logged.add(plain)
                _LOGGER.warning("A service of the host knows the %s %r, which is new to us", values.__name__, plain)
            return plain

    return Kind(raw.signature, decode, lambda value: value.value if isinstance(value, Enum) else value)


class Object(Protocol):
    """What a declaration needs of the instance that it is read from."""

    def cached(self, declaration: Property[Any], /) -> Any: ...

    def invoke(self, declaration: Method[..., T], arguments: Sequence[Any], /) -> Coroutine[Any, Any, T]: ...


class Property(Generic[T]):
    """A property, read from the cache: None when the service is away, has no such property, or an unfit value."""

    def __init__(self, name: str, kind: Kind[T]) -> None:
        self.name = name
        self.kind = kind

    @overload
    def __get__(self, instance: None, owner: type[Object]) -> Property[T]: ...

    @overload
    def __get__(self, instance: Object, owner: type[Object]) -> T | None: ...

    def __get__(self, instance: Object | None, owner: type[Object]) -> Property[T] | T | None:
        if instance is None:
            return self
        value: T | None = instance.cached(self)
        return value


@attrs.frozen
class Fixed:
    """A last argument that is always the same."""

    signature: str
    value: Any


NON_INTERACTIVE: Final = Fixed("b", False)  # noqa: FBT003 - nobody is there to be asked for a password


class Method(Generic[P, T]):
    """A method; calling it on an instance of its interface calls the service.

    It raises Unavailable when the service or the bus is away, Timeout when no answer comes in time, and what the
    service's refusal means.
    """

    def __init__(
        self, name: str, arguments: tuple[Kind[Any], ...], returns: Kind[T], fixed: tuple[Fixed, ...], seconds: float
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.returns = returns
        self.fixed = fixed
        self.seconds = seconds
        self.signature = "".join([kind.signature for kind in arguments] + [part.signature for part in fixed])

    @overload
    def __get__(self, instance: None, owner: type[Object]) -> Method[P, T]: ...

    @overload
    def __get__(self, instance: Object, owner: type[Object]) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(
        self, instance: Object | None, owner: type[Object]
    ) -> Method[P, T] | Callable[P, Coroutine[Any, Any, T]]:
        if instance is None:
            return self

        def call(*arguments: P.args, **_: P.kwargs) -> Coroutine[Any, Any, T]:
            given = [kind.encode(value) for kind, value in zip(self.arguments, arguments, strict=True)]
            given += [part.value for part in self.fixed]
            return instance.invoke(self, given)

        return call


@overload
def method(
    name: str, /, *, returns: Kind[T], fixed: tuple[Fixed, ...] = ..., seconds: float = ...
) -> Method[[], T]: ...
@overload
def method(
    name: str, _first: Kind[A], /, *, returns: Kind[T], fixed: tuple[Fixed, ...] = ..., seconds: float = ...
) -> Method[[A], T]: ...
@overload
def method(
    name: str,
    _first: Kind[A],
    _second: Kind[B],
    /,
    *,
    returns: Kind[T],
    fixed: tuple[Fixed, ...] = ...,
    seconds: float = ...,
) -> Method[[A, B], T]: ...
@overload
def method(
    name: str,
    _first: Kind[A],
    _second: Kind[B],
    _third: Kind[C],
    /,
    *,
    returns: Kind[T],
    fixed: tuple[Fixed, ...] = ...,
    seconds: float = ...,
) -> Method[[A, B, C], T]: ...
@overload
def method(
    name: str,
    _first: Kind[A],
    _second: Kind[B],
    _third: Kind[C],
    _fourth: Kind[D],
    /,
    *,
    returns: Kind[T],
    fixed: tuple[Fixed, ...] = ...,
    seconds: float = ...,
) -> Method[[A, B, C, D], T]: ...
def method(
    name: str,
    *arguments: Kind[Any],
    returns: Kind[Any],
    fixed: tuple[Fixed, ...] = (),
    seconds: float = CALL_SECONDS,
) -> Method[..., Any]:
    """Declare a method: its D-Bus name, the kinds of its arguments, of its result, and how long it may take."""
    return Method(name, arguments, returns, fixed, seconds)


class Signal(Generic[T]):
    """A signal; `decode` makes one object of its arguments."""

    def __init__(self, name: str, decode: Callable[..., T]) -> None:
        self.name = name
        self.decode = decode


def declared(interface: type) -> Mapping[str, Property[Any]]:
    """Return the properties of an interface by their D-Bus names."""
    return {
        value.name: value
        for ancestor in reversed(interface.__mro__)
        for value in vars(ancestor).values()
        if isinstance(value, Property)
    }
