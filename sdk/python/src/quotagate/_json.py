"""Exact amounts in JSON, and readers of answers. This module knows no particular model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

Number: TypeAlias = int | float | Decimal | str
"""An amount that you pass: a number, or decimal digits such as ``"0.25"``."""

Amount: TypeAlias = int | Decimal
"""An amount in an answer: exact, never a float."""

JsonObject: TypeAlias = dict[str, Any]

Reader: TypeAlias = Callable[[Any], Any]
M = TypeVar("M", bound="Model")


class Malformed(ValueError):
    """The text is not an answer of the gateway."""


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} cannot be sent")


def encode(value: object) -> bytes:
    """Encodes decimals as decimal digits, which the gateway reads exactly."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain).encode()


def decode(text: bytes | str) -> Any:
    """Reads fractions as decimals, so that amounts stay exact."""
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
        # 20.0 and 20 are the same amount.
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
    """Reads with the first reader that accepts the value."""

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
    # A float keeps 15 digits, which is enough for any unit.
    return float(value) if isinstance(value, Decimal) else value


class Model:
    """An answer of the gateway. Unknown fields are ignored, since a newer gateway may send more."""

    __slots__ = ()

    _fields: ClassVar[Mapping[str, tuple[str, Reader, bool]]] = {}
    """For each name in JSON: the attribute, its reader, and whether the field is required."""

    @classmethod
    def from_json(cls: type[M], value: Any, **more: Any) -> M:
        """Reads an answer. Raises ``ValueError`` if a field is missing or has the wrong type."""
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
        """The fields by their names in the API, without unset ones: for ``json.dumps``, or to send them back.

        Example::

            plan = admin.get_plan("pro").to_json()
            plan["name"] = "Pro 2"
        """
        fields: JsonObject = {}
        for name, (attribute, _, required) in self._fields.items():
            value = getattr(self, attribute)
            if value is not None or required:
                fields[name] = _sendable(value)
        return fields


NULLABLE: Final[Any] = "nullable"
"""Marks a required field that may be null."""
