"""Usage, subscriptions and plans."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from quotagate import _json
from quotagate._async.settling import AsyncCore
from quotagate._async.streams import follow
from quotagate._async.transport import Call
from quotagate._calls import UNSET, given, named
from quotagate.results import Plan, Subscription, Usage


class AsyncAccounts:
    """Part of the client: usage, subscriptions and plans."""

    _core: AsyncCore

    async def usage(
        self,
        user_id: str,
        event: str | None = None,
        *,
        key_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> Usage:
        """A user's counters now, with unused groups at 0. ``event`` (a name or glob) selects groups that match it.
        With ``key_id`` or ``metadata`` also the counters of these owners, such as ``{"team": "red"}``.

        Raises ``GatewayUnavailable`` and ``QuotagateError``. Without a subscription, ``plan_id`` is None.

        Example::

            for c in (await client.usage("u_42")).counters:
                print(c.label, c.used, c.quota, c.resets_at)
        """
        query = {"userId": user_id, "event": event, "key": key_id, **named(metadata)}
        answer = await self._core.call(Call("GET", "usage", query=query), deadline)
        return Usage.from_json(answer.data)

    def watch_usage(self, user_id: str, event: str | None = None) -> AsyncGenerator[Usage, None]:
        """A user's counters now and after every change, until the caller stops.

        The client reconnects a lost stream, with growing pauses, and never yields the same state twice in a row.
        Raises ``QuotagateError`` if a retry cannot help (401, 403 …).

        Example::

            async for usage in client.watch_usage("u_42"):
                print(usage.counters[0].remaining)
        """
        query = {"userId": user_id, "event": event}
        return follow(self._core.transport, Usage, "usage/stream", query, changes_only=True)

    async def upsert_subscription(
        self,
        user_id: str,
        plan_id: str,
        *,
        started_at: str | None = UNSET,
        cycle_start: str | None = UNSET,
        ends_at: str | None = UNSET,
        custom_limits: Mapping[str, Any] | None = UNSET,
        reset_usage: bool = False,
        note: str | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Subscription:
        """Puts a user on a plan. A call with the same plan and the same values changes nothing.

        Times are RFC 3339 texts. On the same plan, a value that you leave out stays, and None clears it.
        ``custom_limits`` is ``{group_id: {"quota": …}}`` or the whole body of a plan. ``changed`` of the answer is
        False if nothing changed. The audit log records ``note``. Raises ``not_found`` (404) for an unknown plan.

        Example::

            await client.upsert_subscription("u_42", "pro", cycle_start="2026-11-03T00:00:00Z")
        """
        body: dict[str, Any] = {"userId": user_id, "planId": plan_id}
        for name, value in (
            ("startedAt", started_at),
            ("cycleStart", cycle_start),
            ("endsAt", ends_at),
            ("customLimits", custom_limits),
        ):
            if value is not UNSET:
                body[name] = value
        if reset_usage:
            body["resetUsage"] = True
        if note is not None:
            body["note"] = note
        answer = await self._core.call(Call("POST", "subscriptions", body, idempotency_key=idempotency_key), deadline)
        return Subscription.from_json(answer.data)

    async def cancel_subscription(
        self,
        user_id: str,
        *,
        ends_at: str | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Subscription:
        """Ends a subscription at ``ends_at`` (RFC 3339), or now. The audit log records ``note``.

        Raises ``not_found`` (404) without a subscription, ``already_canceled`` (409) if it is already cancelled.

        Example::

            await client.cancel_subscription("u_42", ends_at="2026-12-01T00:00:00Z")
        """
        body = given(userId=user_id, endsAt=ends_at, note=note)
        answer = await self._core.call(Call("DELETE", "subscriptions", body, idempotency_key=idempotency_key), deadline)
        return Subscription.from_json(answer.data)

    async def available_plans(self, *, deadline: float | None = None) -> tuple[Plan, ...]:
        """All plans, for a pricing page.

        Example::

            [(p.id, p.name) for p in await client.available_plans()]
        """
        answer = await self._core.call(Call("GET", "plans"), deadline)
        plans: tuple[Plan, ...] = _json.list_of(Plan.from_json)(_json.record(answer.data).get("data"))
        return plans
