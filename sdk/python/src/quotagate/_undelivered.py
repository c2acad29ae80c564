"""What is told of a call that could not be delivered."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias

from quotagate.errors import GatewayUnavailable, QuotagateError

logger = logging.getLogger("quotagate")

KeptCall: TypeAlias = Literal["commit", "track", "release"]

MOST = 100_000
"""So many calls are kept at most; beyond, they are handed over at once."""

FAILURES_IN_A_ROW = 3
"""After so many the gateway is taken to be down, and the round ends."""

LONGEST_PAUSE = 30.0
"""Seconds between two rounds, at most."""


@dataclass(frozen=True, kw_only=True)
class Undelivered:
    """A commit or track that was given up, with all that is needed to repeat it.

    Example::

        def on_undelivered(lost: Undelivered) -> None:
            table.insert(call=lost.call, body=lost.body, key=lost.idempotency_key)
    """

    call: Literal["commit", "track"]
    body: Mapping[str, Any]
    """As it would have been sent."""
    idempotency_key: str
    """Repeat it with this key within 15 minutes of ``since``, and it counts once."""
    attempts: int
    """How often it was tried, rounds in the background included."""
    since: datetime
    """When it was first tried, UTC."""
    error: QuotagateError
    """Why it was given up."""


@dataclass(eq=False)
class Kept:
    """A call that waits for the gateway. Calls of one line go out in their order, one after the other."""

    line: str
    call: KeptCall
    body: Mapping[str, Any]
    idempotency_key: str
    keep_seconds: float
    error: QuotagateError
    attempts: int = 1
    since: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    started: float = field(default_factory=time.monotonic)

    @property
    def over(self) -> bool:
        return time.monotonic() - self.started >= self.keep_seconds

    def lost(self) -> Undelivered | None:
        """What to hand over. A hold that could not be released has ended by itself: nothing is lost."""
        if self.call == "release":
            return None
        return Undelivered(
            call=self.call,
            body=self.body,
            idempotency_key=self.idempotency_key,
            attempts=self.attempts,
            since=self.since,
            error=self.error,
        )


def may_yet_arrive(error: QuotagateError) -> bool:
    """Did the gateway not take the call in, whatever the reason?"""
    return isinstance(error, GatewayUnavailable) or error.status >= 500


def log(lost: Undelivered) -> None:
    """Where no ``on_undelivered`` was given."""
    logger.error(
        "undelivered %s of %s after %d attempts: %s",
        lost.call,
        lost.body.get("reservationId") or lost.body.get("event"),
        lost.attempts,
        lost.error,
    )
