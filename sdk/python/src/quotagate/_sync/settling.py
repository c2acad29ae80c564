# Generated from ../_async/settling.py by tools/generate_sync.py; do not edit.
"""Commits, releases and tracks: delivered now, or stored and retried. No call is dropped silently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quotagate._answers import Answer
from quotagate._calls import checked_key, kept_track, quiet_settlement, release_refused
from quotagate._lifetimes import GRACE, Lifetimes
from quotagate._sync import runtime
from quotagate._sync.transport import Call, Transport
from quotagate._sync.undelivered import Backlog
from quotagate._undelivered import Kept, KeptCall, may_yet_arrive
from quotagate.errors import GatewayUnavailable, QuotagateError
from quotagate.options import Options
from quotagate.results import Settlement, Tracked

KEY_MEMORY = GRACE - 30.0
"""The gateway stores keys for at least 15 minutes. After that, a repeated draw or track would count twice."""


class Core:
    """The state that all parts of a client share."""

    def __init__(self, transport: Transport, on_undelivered: runtime.OnUndelivered | None) -> None:
        self.transport = transport
        self.background = runtime.Background()
        self.backlog = Backlog(transport, self.background, on_undelivered)
        self.lifetimes = Lifetimes()

    @property
    def options(self) -> Options:
        return self.transport.options

    def call(self, call: Call, deadline: float | None = None) -> Answer:
        return self.transport.send(call, deadline=deadline)

    def commit(
        self, reservation_id: str, body: Mapping[str, Any], key: str | None, deadline: float | None
    ) -> Settlement:
        keep = self.lifetimes.settle_seconds(reservation_id)
        final = body.get("final", True)
        kept = self._kept("commit", reservation_id, body, key, keep if final else min(keep, KEY_MEMORY))
        answer = self._now_or_later(kept, deadline)
        if answer is None:
            return quiet_settlement(reservation_id, "undelivered", degraded=True)
        if final:
            self.lifetimes.forget(reservation_id)
        return Settlement.from_json(answer.data)

    def release(
        self, reservation_id: str, body: Mapping[str, Any], key: str | None, deadline: float | None
    ) -> Settlement:
        # There is nothing to release after the hold has expired.
        keep = self.lifetimes.hold_seconds(reservation_id)
        kept = self._kept("release", reservation_id, body, key, keep)
        try:
            answer = self._now_or_later(kept, deadline)
        except QuotagateError as error:
            return release_refused(reservation_id, error)
        if answer is None:
            return quiet_settlement(reservation_id, "undelivered", degraded=True)
        self.lifetimes.forget(reservation_id)
        return Settlement.from_json(answer.data)

    def track_surely(self, body: Mapping[str, Any], key: str | None, deadline: float | None) -> Tracked:
        kept = self._kept("track", "", body, key, KEY_MEMORY)
        answer = self._now_or_later(kept, deadline)
        return kept_track() if answer is None else Tracked.from_json(answer.data)

    def _kept(self, call: KeptCall, line: str, body: Mapping[str, Any], key: str | None, keep: float) -> Kept:
        key = checked_key(key)
        waits = GatewayUnavailable("an earlier call for this reservation is not delivered yet")
        # Tracks need no order, so each has its own line.
        return Kept(line or key, call, body, key, keep, waits, attempts=0)

    def _now_or_later(self, kept: Kept, deadline: float | None) -> Answer | None:
        """Returns the answer, or None if the call is stored and will be retried."""
        if not self.backlog.holds(kept.line):
            call = Call("POST", kept.call, kept.body, idempotency_key=kept.idempotency_key)
            kept.attempts = 1
            try:
                return self.transport.send(call, deadline=deadline)
            except QuotagateError as error:
                if not may_yet_arrive(error):
                    raise
                # Without the traceback, which would keep the caller's variables in memory.
                kept.error = error.with_traceback(None)
            except BaseException as stop:
                # Cancelled while sending: it is unknown whether the call arrived, and it still has to.
                kept.error = GatewayUnavailable(f"stopped while it was sent: {type(stop).__name__}")
                if not self.backlog.add(kept):
                    self.backlog.give_up_now(kept)
                raise
        self.backlog.keep(kept)
        return None
