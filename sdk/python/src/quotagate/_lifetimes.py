"""How long each reservation of this client can still be settled."""

from __future__ import annotations

import threading
import time

GRACE = 15 * 60.0
"""Seconds after the expiry in which a reservation can still be committed; also how long the gateway stores keys."""

MANY = 10_000
"""Above this number, expired entries are removed."""


class Lifetimes:
    """Measured with the clock of this process since the answer, so that clock skew and test clocks do not matter."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()

    def lives(self, reservation_id: str, ttl_seconds: float) -> None:
        """The reservation lives for at least this many seconds from now."""
        now = time.monotonic()
        with self._lock:
            self._ends[reservation_id] = max(now + ttl_seconds, self._ends.get(reservation_id, 0.0))
            if len(self._ends) > MANY:
                self._ends = {name: end for name, end in self._ends.items() if end + GRACE > now}

    def forget(self, reservation_id: str) -> None:
        with self._lock:
            self._ends.pop(reservation_id, None)

    def hold_seconds(self, reservation_id: str) -> float:
        """The remaining time of the hold; the default time to live for a reservation of another client."""
        end = self._ends.get(reservation_id)
        return 60.0 if end is None else max(0.0, end - time.monotonic())

    def settle_seconds(self, reservation_id: str) -> float:
        """The time left for a commit; at least 15 minutes for a reservation of another client."""
        end = self._ends.get(reservation_id)
        return GRACE if end is None else max(0.0, end + GRACE - time.monotonic())
