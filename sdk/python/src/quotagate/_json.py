"""Amounts in and out of JSON, and how answers are read. Nothing here knows any model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

Number: TypeAlias = int | float | Decimal | str
"""An amount as it may be given: a number, or decimal digits such as ``"0.25"``."""

Amount: TypeAlias = int | Decimal
"""An amount as it is answered: exact, never a float."""

JsonObject: TypeAlias = dict[str, Any]

Reader: TypeAlias = Callable[[Any], Any]
M = TypeVar("M", bound="Model")


class Malformed(ValueError):
    """The text is not what the gateway answers."""


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} cannot be sent")


def encode(value: object) -> bytes:
    """Decimals go out as decimal digits, which the gateway reads exactly."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain).encode()


def decode(text: bytes | str) -> Any:
    """Fractions come in as decimals, so that amounts stay exact."""
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError as fault:
        raise Malformed("not JSON") from fault
    except RecursionError as fault:
        raise Malformed("nested too deeply") from fault


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Malformed("not a text")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Malformed("not true or false")
    return value


def whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed("not a whole number")
    return value


def amount(value: Any) -> Amount:
    if isinstance(value, Decimal) and value.is_finite():
        # 20.0 and 20 are the same amount, whoever wrote it.
        return int(value) if value == value.to_integral_value() else value
    return whole(value)


def anything(value: Any) -> Any:
    return value


def record(value: Any) -> JsonObject:
    if not isinstance(value, dict):
        raise Malformed("not an object")
    return value


def list_of(read: Reader) -> Reader:
    def reader(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Malformed("not a list")
        return tuple(read(item) for item in value)

    return reader


def map_of(read: Reader) -> Reader:
    def reader(value: Any) -> JsonObject:
        return {key: read(item) for key, item in record(value).items()}

    return reader


def or_none(read: Reader) -> Reader:
    def reader(value: Any) -> Any:
        return None if value is None else read(value)

    return reader


def one_of(*readers: Reader) -> Reader:
    """The first that fits."""

    def reader(value: Any) -> Any:
        for read in readers:
            try:
                return read(value)
            except Malformed:
                continue
        raise Malformed("of no known shape")

    return reader


def _sendable(value: Any) -> Any:
    if isinstance(value, Model):
        return value.to_json()
    if isinstance(value, (list, tuple)):
        return [_sendable(item) for item in value]
    if isinstance(value, dict):
        return {key: _sendable(item) for key, item in value.items()}
    # At most 15 digits of it matter in any unit, which a float keeps.
    return float(value) if isinstance(value, Decimal) else value


class Model:
    """What the gateway answers. Unknown fields are ignored: a newer gateway may send more."""

    __slots__ = ()

    _fields: ClassVar[Mapping[str, tuple[str, Reader, bool]]] = {}
    """By name in JSON: the attribute, how it is read, and whether it is always there."""

    @classmethod
    def from_json(cls: type[M], value: Any, **more: Any) -> M:
        """Reads an answer; raises ``ValueError`` if it is not one."""
        given = record(value)
        attributes: JsonObject = {}
        for name, (attribute, read, required) in cls._fields.items():
            found = given.get(name)
            if found is not None:
                try:
                    attributes[attribute] = read(found)
                except Malformed as fault:
                    raise Malformed(f"{name}: {fault}") from None
            elif name in given and required is NULLABLE:
                attributes[attribute] = None
            elif required:
                raise Malformed(f"{name}: missing")
        return cls(**attributes, **more)

    def to_json(self) -> JsonObject:
        """The fields by their names in the API, for ``json.dumps`` or to send them back; what is not set is left out.

        Example::

            plan = admin.get_plan("pro").to_json()
            plan["name"] = "Pro 2"
        """
        told: JsonObject = {}
        for name, (attribute, _, required) in self._fields.items():
            value = getattr(self, attribute)
            if value is not None or required:
                told[name] = _sendable(value)
        return told


NULLABLE: Final[Any] = "nullable"
"""Of a field that is always there and may be null."""
