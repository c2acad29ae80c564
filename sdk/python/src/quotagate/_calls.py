"""Bodies of calls, and results without the gateway. This module does no I/O."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final, cast

from quotagate import _json
from quotagate._answers import Answer, problem
from quotagate._json import Number
from quotagate.bodies import FitBody
from quotagate.errors import QuotagateError
from quotagate.models import DecisionView, MatchStatus
from quotagate.options import OnUnavailable
from quotagate.results import CanUse, Decision, DenialReason, Metadata, Settlement, Tracked

UNSET: Final[Any] = type("Unset", (), {"__repr__": lambda self: "UNSET"})()
"""The default of options where None has a meaning."""


def new_key() -> str:
    return uuid.uuid4().hex


def checked_key(key: str | None) -> str:
    """A new idempotency key, or the given one if a header can contain it."""
    return new_key() if key is None else checked_header("idempotency_key", key)


def checked_header(name: str, value: str) -> str:
    """Checks a header's value here, since the error of the HTTP client would contain the request."""
    if not 0 < len(value) <= 255 or not all(" " <= letter <= "~" for letter in value) or value != value.strip():
        message = f"{name} must be 1 to 255 printable ASCII characters"
        raise QuotagateError(code="invalid_request", message=message, status=400)
    return value


def given(**fields: Any) -> dict[str, Any]:
    """The fields without those that are None or unset."""
    return {name: value for name, value in fields.items() if value is not None and value is not UNSET}


def named(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata as query parameters."""
    return {f"metadata.{name}": value for name, value in (metadata or {}).items()}


def event_body(
    user_id: str, event: str, quantity: Number, metadata: Metadata | None, fit: FitBody | None = None
) -> dict[str, Any]:
    body: dict[str, Any] = {"userId": user_id, "event": event, "quantity": quantity}
    return {**body, **given(metadata=dict(metadata) if metadata else None, fit=dict(fit) if fit else None)}


def encoded(body: Mapping[str, Any] | None) -> bytes | None:
    """Encodes a body. Raises ``invalid_request`` if JSON cannot contain it."""
    if body is None:
        return None
    try:
        return _json.encode(body)
    except (TypeError, ValueError) as fault:
        raise QuotagateError(code="invalid_request", message=str(fault), status=400) from None


def reservation_id_of(reservation: str | DecisionView | None) -> str | None:
    return reservation.reservation_id if isinstance(reservation, DecisionView) else reservation


def decision(answer: Answer) -> Decision:
    """Reads a decision of the gateway."""
    return Decision.from_json(answer.data, rate_limit=answer.rate_limit)


def _outage(on_unavailable: OnUnavailable) -> tuple[bool, tuple[DenialReason, ...]]:
    allowed = on_unavailable == "allow"
    return allowed, () if allowed else ("gateway_unavailable",)


def unavailable_decision(on_unavailable: OnUnavailable) -> Decision:
    allowed, reasons = _outage(on_unavailable)
    return Decision(
        allowed=allowed,
        matched=False,
        matched_group_ids=(),
        reasons=reasons,
        denied_by=(),
        counters=(),
        degraded=True,
        local=True,
    )


def unavailable_can_use(on_unavailable: OnUnavailable) -> CanUse:
    allowed, reasons = _outage(on_unavailable)
    return CanUse(allowed=allowed, matched=False, matched_group_ids=(), reasons=reasons, details=(), degraded=True)


def quiet_settlement(reservation_id: str, status: str, degraded: bool = False) -> Settlement:
    return Settlement(reservation_id=reservation_id, status=cast(Any, status), counters=(), degraded=degraded)


def release_refused(reservation_id: str, error: QuotagateError) -> Settlement:
    """The result of a release that had nothing to release; raises all other errors."""
    if error.code == "reservation_not_pending":
        return quiet_settlement(reservation_id, "settled")
    if error.code == "reservation_expired":
        return quiet_settlement(reservation_id, "expired")
    raise error


MATCH_STATUS: dict[str, MatchStatus] = {"no_subscription": "no_subscription", "unmatched_event": "unmatched"}


def not_counted(answer: Answer) -> Tracked:
    """The result of a denied ``track(enforce=True)``; raises any other problem."""
    try:
        denied = Decision.from_json(answer.data["decision"], rate_limit=answer.rate_limit)
    except (_json.Malformed, KeyError, TypeError):
        raise problem(answer) from None
    reason = denied.reasons[0] if denied.reasons else "limit_reached"
    return Tracked(
        match_status=MATCH_STATUS.get(reason, "over_limit"),
        matched_group_ids=denied.matched_group_ids,
        counters=denied.counters,
        counted=False,
        decision=denied,
    )


def kept_track() -> Tracked:
    return Tracked(matched_group_ids=(), counters=(), counted=False, degraded=True)
