"""Batches: the operations that are sent, and the result of each. This module does no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from quotagate import _json
from quotagate._answers import RETRIED, Answer, overloaded, problem
from quotagate._calls import decision, encoded, not_counted
from quotagate._undelivered import Kept
from quotagate.bodies import (
    CanUseOperation,
    CommitOperation,
    ExtendOperation,
    ReleaseOperation,
    ReserveOperation,
    TrackOperation,
)
from quotagate.errors import GatewayUnavailable, QuotagateError
from quotagate.results import CanUse, Decision, Settlement, Tracked

MOST_OPERATIONS = 100
MOST_BYTES = 256 * 1024
"""The most operations and bytes that the gateway accepts in one batch."""

FRAME_BYTES = 64
"""The size of a body without its operations, rounded up."""

Operation: TypeAlias = (
    ReserveOperation | CommitOperation | ReleaseOperation | ExtendOperation | TrackOperation | CanUseOperation
)
"""One operation of a batch: ``op``, and the body of that call by the names of the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """The result of one operation of a batch: its answer or its error."""

    status: int
    """The HTTP status of the operation."""
    body: Decision | CanUse | Settlement | Tracked | None = None
    """The answer: a ``Decision`` for reserve and extend, a ``Settlement`` for commit and release, a ``Tracked`` for
    track, a ``CanUse`` for can-use; None with an ``error``."""
    error: QuotagateError | None = None
    """The error that the call would raise outside of a batch."""
    replayed: bool = False
    """True if the gateway repeats its first answer to the same idempotency key."""

    @property
    def ok(self) -> bool:
        """True if there is an answer."""
        return self.error is None


def results(data: Any, operations: Sequence[Any]) -> list[BatchResult]:
    """Reads the answer to a batch. Raises ``GatewayUnavailable`` if it is malformed."""
    try:
        found = _json.record(data).get("results")
        if not isinstance(found, list) or len(found) != len(operations):
            raise _json.Malformed("results: not one for each operation")
        return [_result(str(operation["op"]), one) for operation, one in zip(operations, found, strict=True)]
    except _json.Malformed as fault:
        raise GatewayUnavailable(f"the answer cannot be read: {fault}") from None


def _result(op: str, result: Any) -> BatchResult:
    fields = _json.record(result)
    status = _json.whole(fields.get("status"))
    answer = Answer(status, {}, _json.record(fields.get("body")))
    replayed = fields.get("replayed") is True
    if status < 300:
        return BatchResult(status=status, body=_body(op, answer), replayed=replayed)
    failure = problem(answer)
    error = overloaded(failure) if status in RETRIED else failure
    return BatchResult(status=status, body=_denied(op, answer), error=error, replayed=replayed)


def _body(op: str, answer: Answer) -> Decision | CanUse | Settlement | Tracked:
    if op in ("reserve", "extend"):
        return decision(answer)
    if op == "can-use":
        return CanUse.from_json(answer.data)
    return Tracked.from_json(answer.data) if op == "track" else Settlement.from_json(answer.data)


def _denied(op: str, answer: Answer) -> Tracked | None:
    if op != "track" or answer.status != 429:
        return None
    try:
        return not_counted(answer)
    except QuotagateError:
        return None


def with_denials(result: BatchResult) -> BatchResult:
    """A denied track is an answer, as it is outside of a batch."""
    if result.body is None or result.error is None:
        return result
    return BatchResult(status=result.status, body=result.body, replayed=result.replayed)


def settled(operation: Any) -> str | None:
    """The reservation that an operation settles, or None."""
    return operation.get("reservationId") if operation.get("op") in ("commit", "release") else None


def not_yet() -> BatchResult:
    error = GatewayUnavailable("an earlier call for this reservation is not delivered yet")
    return BatchResult(status=error.status, error=error)


def operation_of(kept: Kept) -> dict[str, Any]:
    """A stored call as an operation of a batch."""
    return {"op": kept.call, **kept.body, "idempotencyKey": kept.idempotency_key}


def take(waiting: list[Kept], stuck: set[str]) -> list[Kept]:
    """Removes the next calls from ``waiting``, as many as fit into a batch. It takes at most one call of each line:
    a second one could overtake the first if the first fails. It skips lines that are stuck."""
    part: list[Kept] = []
    later: list[Kept] = []
    lines: set[str] = set()
    size = FRAME_BYTES
    for place, kept in enumerate(waiting):
        if kept.line in stuck:
            continue
        if kept.line in lines:
            later.append(kept)
            continue
        size += len(encoded(operation_of(kept)) or b"") + 1
        if part and (len(part) >= MOST_OPERATIONS or size > MOST_BYTES):
            waiting[:] = later + waiting[place:]
            return part
        lines.add(kept.line)
        part.append(kept)
    waiting[:] = later
    return part
