"""The figures that a block reports with ``use``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from quotagate._calls import given
from quotagate._json import Number
from quotagate.results import Metadata


def exact(number: Number) -> int | Decimal:
    """A number that adds up exactly, unlike a float."""
    return number if isinstance(number, int) else Decimal(str(number))


def plain(number: int | Decimal) -> int | Decimal:
    return int(number) if number == int(number) else number


class Figures:
    """Sums of quantities and named figures; metadata replaces earlier values of the same name."""

    def __init__(self) -> None:
        self.quantity: int | Decimal | None = None
        self.sums: dict[str, int | Decimal] = {}
        self.metadata: dict[str, Any] = {}

    @property
    def any(self) -> bool:
        """True if anything was reported."""
        return self.quantity is not None or bool(self.sums) or bool(self.metadata)

    @property
    def spent(self) -> bool:
        """True if an amount above 0 was reported."""
        return bool(self.quantity) or any(self.sums.values())

    def add(self, quantity: Number | None, metadata: Metadata | None, sums: dict[str, Number]) -> None:
        if quantity is not None:
            self.quantity = (self.quantity or 0) + exact(quantity)
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0) + exact(value)
        self.metadata.update(metadata or {})

    def fields(self) -> dict[str, Any]:
        """The reported ``quantity`` and ``metadata``."""
        metadata = {**self.metadata, **{name: plain(value) for name, value in self.sums.items()}}
        quantity = None if self.quantity is None else plain(self.quantity)
        return given(quantity=quantity, metadata=metadata or None)
