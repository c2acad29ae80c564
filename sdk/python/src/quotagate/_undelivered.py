"""Calls that could not be delivered: how they are stored and reported."""

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
"""The most calls that are stored. Further ones go to ``on_undelivered`` at once."""

FAILURES_IN_A_ROW = 3
"""After this many failures the gateway counts as down, and the round ends."""

LONGEST_PAUSE = 30.0
"""The longest pause between two rounds, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Undelivered:
    """A commit or track that the client gave up, with everything needed to repeat it.

    Example::

        def on_undelivered(lost: Undelivered) -> None:
            table.insert(call=lost.call, body=lost.body, key=lost.idempotency_key)
    """

    call: Literal["commit", "track"]
    body: Mapping[str, Any]
    """The body of the request."""
    idempotency_key: str
    """Repeat the call with this key within 15 minutes of ``since``, and it counts once."""
    attempts: int
    """The number of attempts, including those in the background."""
    since: datetime
    """The time of the first attempt, UTC."""
    error: QuotagateError
    """The last error."""


@dataclass(eq=False)
class Kept:
    """A call that waits for the gateway. Calls of one line are sent in order, one after the other."""

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
    def expired(self) -> bool:
        return time.monotonic() - self.started >= self.keep_seconds

    def lost(self) -> Undelivered | None:
        """The report for the application; None for a release, since its hold expires anyway."""
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
    """True if the call did not arrive, so that a retry can help."""
    return isinstance(error, GatewayUnavailable) or error.status >= 500


def log(lost: Undelivered) -> None:
    """Logs the call: the default of ``on_undelivered``."""
    logger.error(
        "undelivered %s of %s after %d attempts: %s",
        lost.call,
        lost.body.get("reservationId") or lost.body.get("event"),
        lost.attempts,
        lost.error,
    )
