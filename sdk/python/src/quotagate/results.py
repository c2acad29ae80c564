"""What calls answer: the gateway's models, and what this package adds to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from quotagate.models import (
    CanUseView,
    CounterView,
    DecisionView,
    MatchStatus,
    PlanView,
    Reason,
    SettlementView,
    SubscriptionView,
    TrackedView,
    UsageView,
)

DenialReason: TypeAlias = Reason | Literal["gateway_unavailable"]
"""Why a call was denied: the gateway's reasons, or ``gateway_unavailable`` if it could not be asked."""

Metadata: TypeAlias = Mapping[str, Any]
"""Facts about an event: at most 32 keys with scalar values; decimals are sent exactly."""

SettlementStatus: TypeAlias = Literal["held", "committed", "released", "settled", "expired", "undelivered", "unmetered"]
"""What became of a reservation: ``held`` (after a draw), ``committed`` or ``released`` as the gateway says, or

- ``settled``: it was committed before, so that there was nothing to release
- ``expired``: its time and grace were over, so that there was nothing to release
- ``undelivered``: the gateway could not be reached; the call is kept and tried again in the background
- ``unmetered``: there was no reservation, because nothing matched the event or the gateway could not be asked
"""

Usage: TypeAlias = UsageView
Counter: TypeAlias = CounterView
Plan: TypeAlias = PlanView
Subscription: TypeAlias = SubscriptionView


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What the application may call instead, as configured in a group's ``onLimit``."""

    event: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(DecisionView):
    """The answer to ``reserve`` and ``extend``. Times are RFC 3339 texts in UTC, amounts are in the group's unit."""

    # A gateway that cannot be reached cannot tell a reason of its own.
    reasons: tuple[DenialReason, ...]  # type: ignore[assignment, unused-ignore]
    degraded: bool = False
    """The gateway, or its store, could not be asked: ``on_unavailable`` or ``onStoreFailure`` decided."""
    local: bool = field(default=False, repr=False)
    """This client decided by itself, because it got no answer."""
    rate_limit: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """The rate limit headers of the gateway's answer; see ``rate_limit_headers``."""

    @property
    def on_limit(self) -> dict[str, Any] | None:
        """The first ``onLimit`` of the groups that denied: ``message``, ``upgradeUrl``, ``fallback``; or None."""
        return next((denied.on_limit for denied in self.denied_by if denied.on_limit), None)

    @property
    def fallback(self) -> Fallback | None:
        """What may be called instead, if a group that denied names it.

        Example::

            if not r.allowed and r.fallback:
                r = client.reserve("u_42", r.fallback.event, 1, r.fallback.metadata)
        """
        for denied in self.denied_by:
            named = (denied.on_limit or {}).get("fallback")
            if isinstance(named, dict) and isinstance(named.get("event"), str):
                return Fallback(event=named["event"], metadata=dict(named.get("metadata") or {}))
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanUse(CanUseView):
    """The answer to ``can_use``."""

    reasons: tuple[DenialReason, ...]  # type: ignore[assignment, unused-ignore]
    degraded: bool = False
    """The gateway could not be asked: ``on_unavailable`` decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement(SettlementView):
    """The answer to ``commit`` and ``release``."""

    status: SettlementStatus
    degraded: bool = False
    """The gateway could not be reached (status ``undelivered``), or could not be when it was reserved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked(TrackedView):
    """The answer to ``track``."""

    event_id: str | None = None  # type: ignore[assignment, unused-ignore]
    """None if it was not counted, or not yet."""
    match_status: MatchStatus | None = None  # type: ignore[assignment, unused-ignore]
    """None if it is not known yet."""
    counted: bool = True
    """Was it counted? False if ``enforce`` denied it, or if it is kept for later (``degraded``)."""
    decision: Decision | None = None
    """With ``enforce``: why it was not counted."""
    degraded: bool = False
    """The gateway could not be reached; the call is kept and tried again in the background (option ``keep``)."""
