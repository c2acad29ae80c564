"""The metering calls: reserve, commit, release, extend, track, can_use and batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from quotagate import bodies
from quotagate._async.settling import AsyncCore
from quotagate._async.transport import Call, path_of
from quotagate._batch import BatchResult, Operation, not_yet, results, settled, with_denials
from quotagate._calls import (
    decision,
    event_body,
    given,
    not_counted,
    quiet_settlement,
    reservation_id_of,
    unavailable_can_use,
    unavailable_decision,
)
from quotagate._json import Number
from quotagate.bodies import Outcome
from quotagate.errors import GatewayUnavailable, denial
from quotagate.models import DecisionView, OutcomeView
from quotagate.results import CanUse, Decision, Metadata, Settlement, Tracked


class AsyncMetering:
    """Part of the client. All calls raise ``QuotagateError`` for invalid requests (400, 401, 403, 404 …). A denial is a
    result, unless the client has ``throw_on_deny``."""

    _core: AsyncCore

    async def reserve(
        self,
        user_id: str,
        event: str,
        quantity: Number = 1,
        metadata: Metadata | None = None,
        *,
        fit: bodies.FitBody | None = None,
        ttl_seconds: int = 60,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Decision:
        """Checks every limit that applies and holds ``quantity`` in all of them, or in none.

        ``user_id`` has 1 to 256 bytes, ``event`` 1 to 128. ``quantity`` is more than 0, in the unit of the limits.
        The hold expires after ``ttl_seconds`` (1 to 3600) unless it is committed, released or extended. ``deadline``
        limits the whole call, in seconds.

        With ``fit`` the gateway holds as much of one figure as fits: at least ``min``, at most the value that you send
        (or the limit's estimate). ``fitted`` of the decision has the value.

        If the gateway cannot be reached, ``on_unavailable`` of the client decides, and the result is ``degraded``.
        With ``throw_on_deny`` it raises ``Denied`` or ``GatewayUnavailable`` instead of returning a denial.

        Example::

            r = await client.reserve("u_42", "image.render", 1, {"size": "2k"})
            if not r.allowed:
                return r.reasons, r.retry_after_ms
            tokens = {"prompt_tokens": 1_200, "completion_tokens": 4_000}
            fit = {"field": "completion_tokens", "min": 256}
            r = await client.reserve("u_42", "llm.chat", 1, tokens, fit=fit)
            max_tokens = (r.fitted or {}).get("completion_tokens", 256)
        """
        body = event_body(user_id, event, quantity, metadata, fit)
        return await self._decided(body, ttl_seconds, idempotency_key, deadline)

    async def reserve_items(
        self,
        user_id: str,
        items: Sequence[bodies.ItemBody],
        *,
        ttl_seconds: int = 60,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Decision:
        """Reserves several events (1 to 10) in one step: all of them are held, or none. One commit or release settles
        them. ``items`` of ``commit`` has the actual figures, in the same order. All else is as in ``reserve``.

        Example::

            wanted = [{"event": "image.render"}, {"event": "llm.tokens", "quantity": 900}]
            r = await client.reserve_items("u_42", wanted)
            await client.commit(r, items=[{}, {"quantity": 640}])
        """
        body = {"userId": user_id, "items": [dict(item) for item in items]}
        return await self._decided(body, ttl_seconds, idempotency_key, deadline)

    async def _decided(
        self, body: dict[str, Any], ttl_seconds: int, idempotency_key: str | None, deadline: float | None
    ) -> Decision:
        options = self._core.options
        try:
            result = await self._gateway_decision(body, ttl_seconds, idempotency_key, deadline)
        except GatewayUnavailable:
            if options.throw_on_deny and options.on_unavailable == "deny":
                raise
            return unavailable_decision(options.on_unavailable)
        self._raise_denial(result)
        return result

    async def _gateway_decision(
        self, body: dict[str, Any], ttl_seconds: int, idempotency_key: str | None, deadline: float | None
    ) -> Decision:
        """The gateway's own decision; raises ``GatewayUnavailable`` without one."""
        call = Call("POST", "reserve", {**body, "ttlSeconds": ttl_seconds}, idempotency_key=idempotency_key)
        result = decision(await self._core.call(call, deadline))
        if result.reservation_id is not None:
            self._core.lifetimes.lives(result.reservation_id, ttl_seconds)
        return result

    def _raise_denial(self, result: Decision) -> None:
        if not result.allowed and self._core.options.throw_on_deny:
            raise denial(result)

    async def commit(
        self,
        reservation: str | DecisionView | None,
        *,
        quantity: Number | None = None,
        metadata: Metadata | None = None,
        items: Sequence[bodies.ActualBody] | None = None,
        final: bool = True,
        if_expired: Literal["charge", "reject"] = "charge",
        outcome: Outcome | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Settlement:
        """Confirms a reservation: the held amounts become used.

        ``reservation`` is its id, or the decision. With ``quantity`` (0 or more) or ``metadata`` (merged over that of
        the reserve) the gateway charges the actual figures: it returns the rest if they are less, and records them in
        full if they are more. ``items`` has the figures for a reservation of several events, in the same order.
        ``final=False`` draws: the figures are increments, and the rest stays held.
        ``if_expired="reject"`` refuses to charge after the expiry (``reservation_expired``, 410).

        If the gateway cannot be reached, the status is ``undelivered``: the client stores the commit and retries it in
        the background until 15 minutes after the reservation's expiry (a draw: for 15 minutes), then passes it to
        ``on_undelivered``. Raises ``reservation_not_pending`` (409) if the reservation was released, and
        ``reservation_expired`` (410) if it expired more than 15 minutes ago. Without a reservation (unmetered event,
        degraded decision) it does nothing.

        Example::

            await client.commit(r.reservation_id, quantity=812, metadata={"completion_tokens": 512})
        """
        reservation_id = reservation_id_of(reservation)
        if reservation_id is None:
            return quiet_settlement("", "unmetered", getattr(reservation, "degraded", False))
        body = given(
            reservationId=reservation_id,
            quantity=quantity,
            metadata=dict(metadata) if metadata else None,
            items=[dict(item) for item in items] if items is not None else None,
            final=None if final else False,
            ifExpired=None if if_expired == "charge" else if_expired,
            outcome=outcome,
        )
        return await self._core.commit(reservation_id, body, idempotency_key, deadline)

    async def release(
        self,
        reservation: str | DecisionView | None,
        *,
        reason: str | None = None,
        error_code: str | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Settlement:
        """Returns everything that is still held.

        A reservation that is already settled or expired is no error: the status is ``settled`` or ``expired``. If the
        gateway cannot be reached, the status is ``undelivered``: the client retries until the hold expires.
        The ledger records ``reason`` and ``error_code``.

        Example::

            try:
                image = await render()
                await client.commit(r)
            except Exception:
                await client.release(r)
                raise
        """
        reservation_id = reservation_id_of(reservation)
        if reservation_id is None:
            return quiet_settlement("", "unmetered", getattr(reservation, "degraded", False))
        body = given(reservationId=reservation_id, reason=reason, errorCode=error_code)
        return await self._core.release(reservation_id, body, idempotency_key, deadline)

    async def extend(
        self,
        reservation: str | DecisionView,
        *,
        ttl_seconds: int | None = None,
        quantity: Number | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Decision:
        """Gives a reservation more time (``ttl_seconds`` from now, 1 to 3600; 24 hours after the reserve at most), a
        larger amount (``quantity`` more, checked like a reserve), or both.

        If a limit has no room, ``allowed`` is False and nothing has changed. Raises ``reservation_not_pending`` (409),
        ``reservation_expired`` (410), ``GatewayUnavailable``, and with ``throw_on_deny`` also ``Denied``.

        Example::

            await client.extend(r, ttl_seconds=300, quantity=1000)
        """
        body = given(reservationId=reservation_id_of(reservation) or "", ttlSeconds=ttl_seconds, quantity=quantity)
        answer = await self._core.call(Call("POST", "extend", body, idempotency_key=idempotency_key), deadline)
        result = decision(answer)
        if result.allowed and ttl_seconds is not None:
            self._core.lifetimes.lives(body["reservationId"], ttl_seconds)
        self._raise_denial(result)
        return result

    async def track(
        self,
        user_id: str,
        event: str,
        quantity: Number = 1,
        metadata: Metadata | None = None,
        *,
        enforce: bool = False,
        keep: bool = False,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Tracked:
        """Counts something that has happened, past the quota too. An event that ends in ``.refund`` returns usage.

        ``enforce=True`` counts only if every limit has room. Otherwise ``counted`` is False and ``decision`` has the
        reason; with ``throw_on_deny`` it raises ``Denied``. If the gateway cannot be reached, it raises
        ``GatewayUnavailable``; with ``keep=True`` (not with ``enforce``) the client retries the call in the background
        for 15 minutes, then passes it to ``on_undelivered``.

        Example::

            t = await client.track("u_42", "llm.tokens", 1_250, {"model": "small"})
            t.counters[0].overage
        """
        body = event_body(user_id, event, quantity, metadata)
        if not enforce:
            if keep:
                return await self._core.track_surely(body, idempotency_key, deadline)
            answer = await self._core.call(Call("POST", "track", body, idempotency_key=idempotency_key), deadline)
            return Tracked.from_json(answer.data)
        call = Call("POST", "track", {**body, "enforce": True}, idempotency_key=idempotency_key, accept=(429,))
        answer = await self._core.call(call, deadline)
        if answer.status != 429:
            return Tracked.from_json(answer.data)
        result = not_counted(answer)
        if result.decision is not None:
            self._raise_denial(result.decision)
        return result

    async def outcome(
        self, reservation: str | DecisionView, outcome: Outcome, *, idempotency_key: str | None = None
    ) -> OutcomeView:
        """Records after a commit whether the end user accepted the result: ``"accepted"`` or ``"rejected"``. The last
        call counts. Raises ``reservation_not_pending`` (409) before the commit.

        Example::

            await client.outcome(r, "rejected")
        """
        path = path_of("reservations", reservation_id_of(reservation) or "") + "/outcome"
        call = Call("POST", path, {"outcome": outcome}, idempotency_key=idempotency_key)
        return OutcomeView.from_json((await self._core.call(call)).data)

    async def can_use(
        self,
        user_id: str,
        event: str,
        quantity: Number = 1,
        metadata: Metadata | None = None,
        *,
        fit: bodies.FitBody | None = None,
        deadline: float | None = None,
    ) -> CanUse:
        """Answers what a reserve would answer now. It holds nothing, and does not raise for a denial.

        If the gateway cannot be reached, ``on_unavailable`` decides and the result is ``degraded``.

        Example::

            c = await client.can_use("u_42", "image.render")
            c.allowed, c.details[0].current, c.details[0].quota
        """
        try:
            answer = await self._core.call(
                Call("POST", "can-use", event_body(user_id, event, quantity, metadata, fit)), deadline
            )
        except GatewayUnavailable:
            return unavailable_can_use(self._core.options.on_unavailable)
        return CanUse.from_json(answer.data)

    async def batch(
        self,
        operations: Sequence[Operation],
        *,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> list[BatchResult]:
        """Sends up to 100 operations in one request: each is ``op`` (``reserve``, ``commit``, ``release``, ``extend``,
        ``track`` or ``can-use``) with the body of that call, by the names of the API.

        The gateway decides each operation as if it had been sent alone; operations of one user keep their order. If an
        operation fails, its own result has an ``error``. The call raises ``QuotagateError`` (``invalid_request`` for
        none or more than 100, ``payload_too_large`` for more than 256 KiB) and ``GatewayUnavailable`` for the batch as
        a whole.

        The client does not retry a batch in the background. If an error has the status 503, or the call raises, send
        those operations again; with an ``idempotencyKey`` in each, none counts twice.

        Example::

            first, second = await client.batch([
                {"op": "commit", "reservationId": a, "quantity": 812},
                {"op": "track", "userId": "u_42", "event": "api.call"},
            ])
            if not first.ok:
                report(first.error)
        """
        waits = [self._core.backlog.holds(settled(operation) or "") for operation in operations]
        sent = [operation for operation, later in zip(operations, waits, strict=True) if not later]
        answers: list[BatchResult] = []
        if sent or not operations:
            body = {"operations": [dict(operation) for operation in sent]}
            answer = await self._core.call(Call("POST", "batch", body, idempotency_key=idempotency_key), deadline)
            answers = [with_denials(result) for result in results(answer.data, sent)]
        for operation, result in zip(sent, answers, strict=True):
            self._remember_lifetime(operation, result)
        answered = iter(answers)
        return [not_yet() if later else next(answered) for later in waits]

    def _remember_lifetime(self, operation: Operation, result: BatchResult) -> None:
        lifetimes, made = self._core.lifetimes, result.body
        if operation["op"] == "reserve" and isinstance(made, Decision) and made.reservation_id is not None:
            lifetimes.lives(made.reservation_id, operation.get("ttlSeconds", 60))
        if operation["op"] == "extend" and isinstance(made, Decision) and made.allowed:
            lifetimes.lives(operation["reservationId"], operation.get("ttlSeconds") or 0)
        if isinstance(made, Settlement) and made.status != "held":
            lifetimes.forget(made.reservation_id)

    async def can(self, user_id: str, event: str, quantity: Number = 1, metadata: Metadata | None = None) -> bool:
        """``can_use`` as True or False, for example to show a button.

        Example::

            if await client.can("u_42", "image.render"): ...
        """
        return (await self.can_use(user_id, event, quantity, metadata)).allowed
