"""The results of calls: the gateway's models, and the fields that this package adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from quotagate.models import (
    CanUseView,
    CounterView,
    DecisionView,
    FallbackBody,
    MatchStatus,
    OnLimitBody,
    PlanView,
    Reason,
    SettlementView,
    SubscriptionView,
    TrackedView,
    UsageView,
)

DenialReason: TypeAlias = Reason | Literal["gateway_unavailable"]
"""Why a call was denied: the gateway's reasons, or ``gateway_unavailable`` if it could not be reached."""

Metadata: TypeAlias = Mapping[str, Any]
"""Facts about an event: at most 32 keys with scalar values; decimals are sent exactly."""

SettlementStatus: TypeAlias = Literal["held", "committed", "released", "settled", "expired", "undelivered", "unmetered"]
"""The status of a reservation: the gateway's ``held`` (after a draw), ``committed`` or ``released``, or

- ``settled``: it was committed before, so there was nothing to release
- ``expired``: it expired more than 15 minutes ago, so there was nothing to release
- ``undelivered``: the gateway could not be reached; the client stores the call and retries it in the background
- ``unmetered``: there was no reservation, because nothing matched the event or the gateway could not be reached
"""

Usage: TypeAlias = UsageView
Counter: TypeAlias = CounterView
Plan: TypeAlias = PlanView
Subscription: TypeAlias = SubscriptionView


Fallback: TypeAlias = FallbackBody
"""The event that the application may use instead, as configured in a group's ``onLimit``."""

OnLimit: TypeAlias = OnLimitBody
"""What a plan returns with a denial: ``message``, ``upgrade_url``, ``fallback``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(DecisionView):
    """The answer to ``reserve`` and ``extend``. Times are RFC 3339 texts in UTC, amounts are in the group's unit."""

    # One reason more than the gateway has.
    reasons: tuple[DenialReason, ...]  # type: ignore[assignment, unused-ignore]
    degraded: bool = False
    """The gateway or its store could not be reached: ``on_unavailable`` or ``onStoreFailure`` decided."""
    local: bool = field(default=False, repr=False)
    """This client decided without the gateway, because it received no answer."""
    rate_limit: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """The rate limit headers of the gateway's answer; see ``rate_limit_headers``."""

    @property
    def on_limit(self) -> OnLimit | None:
        """The first ``onLimit`` of the groups that denied: ``message``, ``upgrade_url``, ``fallback``."""
        return next((denied.on_limit for denied in self.denied_by if denied.on_limit), None)

    @property
    def fallback(self) -> Fallback | None:
        """The event to use instead, if a group that denied names one.

        Example::

            if not r.allowed and r.fallback:
                r = client.reserve("u_42", r.fallback.event, 1, r.fallback.metadata)
        """
        return next((one.on_limit.fallback for one in self.denied_by if one.on_limit and one.on_limit.fallback), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanUse(CanUseView):
    """The answer to ``can_use``."""

    reasons: tuple[DenialReason, ...]  # type: ignore[assignment, unused-ignore]
    degraded: bool = False
    """The gateway could not be reached: ``on_unavailable`` decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement(SettlementView):
    """The answer to ``commit`` and ``release``."""

    status: SettlementStatus
    degraded: bool = False
    """The gateway could not be reached now (status ``undelivered``) or at the reserve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked(TrackedView):
    """The answer to ``track``."""

    event_id: str | None = None  # type: ignore[assignment, unused-ignore]
    """None if the call was not counted, or not yet."""
    match_status: MatchStatus | None = None  # type: ignore[assignment, unused-ignore]
    """None if it is not known yet."""
    counted: bool = True
    """False if ``enforce`` denied the call, or if the client retries it later (``degraded``)."""
    decision: Decision | None = None
    """With ``enforce``: why the call was not counted."""
    degraded: bool = False
    """The gateway could not be reached; with ``keep`` the client retries the call in the background."""
