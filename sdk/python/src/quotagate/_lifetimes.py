"""How long each reservation may still be settled, as far as this client knows."""

from __future__ import annotations

import threading
import time

GRACE = 15 * 60.0
"""Seconds after its expiry in which a reservation can still be committed; also how long keys are remembered."""

MANY = 10_000
"""Beyond so many, what has ended is forgotten."""


class Lifetimes:
    """Counted in this process' own time from when the answer came: neither a skewed clock nor a test clock matters."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()

    def lives(self, reservation_id: str, ttl_seconds: float) -> None:
        """It lives for so many seconds from now, at least."""
        now = time.monotonic()
        with self._lock:
            self._ends[reservation_id] = max(now + ttl_seconds, self._ends.get(reservation_id, 0.0))
            if len(self._ends) > MANY:
                self._ends = {name: end for name, end in self._ends.items() if end + GRACE > now}

    def forget(self, reservation_id: str) -> None:
        with self._lock:
            self._ends.pop(reservation_id, None)

    def hold_seconds(self, reservation_id: str) -> float:
        """How long its hold lasts yet; of a reservation made elsewhere, the default time to live."""
        end = self._ends.get(reservation_id)
        return 60.0 if end is None else max(0.0, end - time.monotonic())

    def settle_seconds(self, reservation_id: str) -> float:
        """How long a commit may still arrive. A reservation made elsewhere has its grace at least."""
        end = self._ends.get(reservation_id)
        return GRACE if end is None else max(0.0, end + GRACE - time.monotonic())
