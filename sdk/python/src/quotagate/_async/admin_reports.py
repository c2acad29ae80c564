"""Events, reports, explanations, drafts and nodes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from quotagate import bodies
from quotagate._async.pages import get, models, write
from quotagate._async.settling import AsyncCore
from quotagate._async.streams import follow
from quotagate._async.transport import path_of
from quotagate._calls import given, named
from quotagate._json import Number
from quotagate.models import (
    DeletePreview,
    EventView,
    ExplainedDraftView,
    ExplanationView,
    ForecastView,
    LimitsView,
    NodeView,
    RecentWhatif,
    ReportLineView,
    SandboxView,
    SettlementView,
    SubscriptionPreviewView,
    UnusualView,
    WindowView,
)


def event_filter(
    types: Sequence[str] | None, flags: Mapping[str, bool | None], metadata: Mapping[str, str] | None
) -> dict[str, str | None]:
    """The parameters of a filter that are not plain texts."""
    kinds = ",".join(types) if types else None
    texts = {name: None if flag is None else str(flag).lower() for name, flag in flags.items()}
    return {"type": kinds, **texts, **named(metadata)}


class AsyncAdminReports:
    """Part of ``admin``."""

    _core: AsyncCore

    def events(
        self,
        *,
        types: Sequence[str] | None = None,
        user_id: str | None = None,
        event: str | None = None,
        key_id: str | None = None,
        group_id: str | None = None,
        reservation_id: str | None = None,
        outcome: str | None = None,
        late: bool | None = None,
        reason: str | None = None,
        observed: bool | None = None,
        metadata: Mapping[str, str] | None = None,
        start: str | None = None,
        end: str | None = None,
        oldest_first: bool = False,
    ) -> AsyncGenerator[EventView, None]:
        """The entries of the ledger and the denials, newest first. ``types`` are some of ``commit``, ``draw``,
        ``release``, ``track``, ``refund``, ``reset``, ``expire``, ``outcome``, ``denial``. ``event`` is a name or a
        glob. ``observed``: only calls that limits with the enforcement ``observe`` would have denied. ``start`` and
        ``end`` are RFC 3339, in real time.

        Example::

            async for denial in admin.events(user_id="u_42", types=["denial"]):
                print(denial.timestamp, denial.reason)
        """
        query = {
            "userId": user_id,
            "event": event,
            "keyId": key_id,
            "groupId": group_id,
            "reservationId": reservation_id,
            "outcome": outcome,
            "reason": reason,
            "from": start,
            "to": end,
            "order": "asc" if oldest_first else None,
            **event_filter(types, {"late": late, "observed": observed}, metadata),
        }
        return models(self._core, EventView, "events", query)

    def follow_events(
        self,
        *,
        types: Sequence[str] | None = None,
        user_id: str | None = None,
        event: str | None = None,
        key_id: str | None = None,
        group_id: str | None = None,
        reservation_id: str | None = None,
        outcome: str | None = None,
        late: bool | None = None,
        reason: str | None = None,
        observed: bool | None = None,
        metadata: Mapping[str, str] | None = None,
        after: str | None = None,
    ) -> AsyncGenerator[EventView, None]:
        """New events as they happen, until the caller stops, or those after the event with the id ``after``. The
        filters are those of ``events``. The client reconnects a lost stream and misses no event.

        Example::

            async for denial in admin.follow_events(types=["denial"]):
                print(denial.user_id, denial.reason)
        """
        query = {
            "userId": user_id,
            "event": event,
            "keyId": key_id,
            "groupId": group_id,
            "reservationId": reservation_id,
            "outcome": outcome,
            "reason": reason,
            **event_filter(types, {"late": late, "observed": observed}, metadata),
        }
        return follow(self._core.transport, EventView, "events/stream", query, after=after)

    def report(
        self,
        *,
        start: str | None = None,
        end: str | None = None,
        period: str | None = None,
        by: Sequence[str] = (),
        event: str | None = None,
        user_id: str | None = None,
        key_id: str | None = None,
        group_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        ratio: Sequence[str] = (),
        top: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[ReportLineView, None]:
        """Calls, denials, charges, cost and more from the day ``start`` to the day ``end`` (default: the last 30 days).
        There is one line for each ``period`` (``day``, ``week``, ``month``; default: the whole time) and each
        combination of up to four fields in ``by``: ``group``, ``user``, ``event``, ``key``, ``metadata.<name>``.

        ``ratio`` adds ratios of two sums to each line, such as ``completion_tokens/prompt_tokens``. ``top`` sorts by
        ``calls``, ``denials`` or ``cost``, largest first, and returns the first ``limit`` lines (1 to 1000, default
        100). Without ``top`` all lines are read, ``limit`` at a time.

        Example::

            async for line in admin.report(by=["user"], period="month"):
                print(line.by["user"], line.cost)
        """
        query = {
            "from": start,
            "to": end,
            "period": period,
            "by": ",".join(by) or None,
            "event": event,
            "userId": user_id,
            "keyId": key_id,
            "groupId": group_id,
            "ratio": list(ratio) or None,
            "top": top,
            "limit": limit,
            **named(metadata),
        }
        return models(self._core, ReportLineView, "reports/usage", query)

    async def limits(self, *, limit: int | None = None) -> LimitsView:
        """The counters that have used at least three quarters of their limit, and those that have used all of it: at
        most ``limit`` (1 to 200) of each, the fullest first.

        Example::

            [counter.scope for counter in (await admin.limits()).at_limit]
        """
        return LimitsView.from_json(await get(self._core, "reports/limits", {"limit": limit}))

    async def unusual(self, *, at: str | None = None, days: int | None = None, by: Sequence[str] = ()) -> UnusualView:
        """Unusual usage on a day (default: yesterday), compared with the ``days`` before it.

        Example::

            (await admin.unusual(by=["group"])).data
        """
        query = {"at": at, "days": days, "by": ",".join(by) or None}
        return UnusualView.from_json(await get(self._core, "reports/unusual", query))

    async def forecast(self, user_id: str) -> ForecastView:
        """When a user's counters run out at the present rate, or their usage at the end of the window.

        Example::

            [counter.runs_out_at for counter in (await admin.forecast("u_42")).data]
        """
        return ForecastView.from_json(await get(self._core, "reports/forecast", {"userId": user_id}))

    def history(
        self,
        user_id: str,
        *,
        group_id: str | None = None,
        start: str | None = None,
        end: str | None = None,
        key_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[WindowView, None]:
        """A user's windows with quota, usage and overage, for invoices; ``final`` windows no longer change. ``start``
        and ``end`` (RFC 3339) select the windows that overlap that time. With ``key_id`` or ``metadata`` also the
        counters of these owners.

        Example::

            async for window in admin.history("u_42"):
                print(window.period.start, window.used, window.overage)
        """
        query = {
            "userId": user_id,
            "groupId": group_id,
            "from": start,
            "to": end,
            "key": key_id,
            **named(metadata),
        }
        return models(self._core, WindowView, "usage/history", query)

    async def explain(
        self,
        user_id: str,
        event: str,
        quantity: Number = 1,
        metadata: Mapping[str, str] | None = None,
        *,
        key_id: str | None = None,
    ) -> ExplanationView:
        """Whether this call would be allowed now, with the decision of each group. Writes nothing.

        Example::

            (await admin.explain("u_42", "image.render")).call.reasons
        """
        query = {"userId": user_id, "event": event, "quantity": str(quantity), "key": key_id, **named(metadata)}
        return ExplanationView.from_json(await get(self._core, "explain", query))

    async def explain_reservation(self, reservation_id: str) -> ExplanationView:
        """The history of a reservation.

        Example::

            (await admin.explain_reservation("rsv_…")).reservation.status
        """
        return ExplanationView.from_json(await get(self._core, "explain", {"reservationId": reservation_id}))

    async def explain_draft(self, draft: bodies.ExplainDraftBody | Mapping[str, Any]) -> ExplainedDraftView:
        """Which groups of a draft match a call, and why the others do not. Writes nothing.

        Example::

            await admin.explain_draft({"plan": {"id": "pro", "groups": [...]}, "event": "image.render"})
        """
        return ExplainedDraftView.from_json(await write(self._core, "POST", "explain", draft))

    async def whatif(self, draft: bodies.WhatifBody | Mapping[str, Any]) -> RecentWhatif:
        """Replays the newest recorded calls under a draft of one plan or policy: which calls it would have denied or
        allowed, and their cost. A node replays one draft at a time; other calls wait.

        Example::

            (await admin.whatif({"plan": {"id": "pro", "groups": [...]}})).newly_denied.calls
        """
        return RecentWhatif.from_json(await write(self._core, "POST", "whatif", draft))

    async def preview_subscription(
        self, subscription: bodies.SubscribeBody | Mapping[str, Any]
    ) -> SubscriptionPreviewView:
        """What a subscription would change in each counter of the user, by the names of the API. Writes nothing.

        Example::

            (await admin.preview_subscription({"userId": "u_42", "planId": "pro"})).counters
        """
        preview = await write(self._core, "POST", "subscriptions", subscription, query={"dryRun": "true"})
        return SubscriptionPreviewView.from_json(preview)

    async def preview_delete_plan(
        self, plan_id: str, *, move_to: str | None = None, if_match: int | None = None
    ) -> DeletePreview:
        """What depends on a plan: users by mode, groups, grants, approval requests, webhooks. ``refusal`` is the reason
        for which ``delete_plan`` would fail now. Deletes nothing.

        Example::

            (await admin.preview_delete_plan("beta", move_to="free")).users
        """
        path, query = path_of("plans", plan_id), {"dryRun": "true", "moveTo": move_to}
        return DeletePreview.from_json(await write(self._core, "DELETE", path, if_match=if_match, query=query))

    async def preview_delete_policy(self, policy_id: str, *, if_match: int | None = None) -> DeletePreview:
        """What depends on a policy: groups, grants, approval requests, webhooks. Deletes nothing.

        Example::

            (await admin.preview_delete_policy("team_budgets")).open_approvals
        """
        path, query = path_of("policies", policy_id), {"dryRun": "true"}
        return DeletePreview.from_json(await write(self._core, "DELETE", path, if_match=if_match, query=query))

    async def release_reservation(
        self, reservation_id: str, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> SettlementView:
        """Releases a reservation that another client made; it can no longer be committed. The ledger and the audit log
        record ``reason`` (at most 256 bytes).

        Example::

            await admin.release_reservation("rsv_…", reason="worker 7 is gone")
        """
        path = path_of("reservations", reservation_id) + "/release"
        released = await write(self._core, "POST", path, given(reason=reason), idempotency_key=idempotency_key)
        return SettlementView.from_json(released)

    def nodes(self) -> AsyncGenerator[NodeView, None]:
        """The gateway's nodes that reported within the last hour.

        Example::

            [node.host async for node in admin.nodes() if node.silent]
        """
        return models(self._core, NodeView, "nodes")

    def sandboxes(self) -> AsyncGenerator[SandboxView, None]:
        """The sandboxes of the app, with the times of their clocks.

        Example::

            [sandbox.mode async for sandbox in admin.sandboxes()]
        """
        return models(self._core, SandboxView, "sandboxes")
