"""Reservations as context managers: reserve before the block, extend while it runs, settle after it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from quotagate._async import runtime
from quotagate._async.metering import AsyncMetering
from quotagate._async.settling import AsyncCore
from quotagate._calls import event_body, quiet_settlement, unavailable_decision
from quotagate._figures import Figures
from quotagate._json import Number
from quotagate._undelivered import logger
from quotagate.bodies import FitBody, Outcome
from quotagate.errors import Denied, GatewayUnavailable, QuotagateError, denial
from quotagate.results import Decision, Metadata, Settlement

T = TypeVar("T")


class AsyncReservation:
    """A context manager, made by ``client.reservation`` and ``client.stream_reservation``.

    On entry it reserves, and raises ``Denied`` if the gateway denies that. While the block runs, the client extends the
    hold in the background. At the end it commits the figures reported with ``use``, or the held amounts if nothing was
    reported. On an error or cancellation it releases. A reservation of ``stream_reservation`` always settles the amount
    that was counted until then.
    """

    def __init__(
        self,
        client: AsyncMetering,
        core: AsyncCore,
        *,
        user_id: str,
        event: str,
        quantity: Number,
        metadata: Metadata | None,
        fit: FitBody | None,
        ttl_seconds: int,
        idempotency_key: str | None,
        streaming: bool,
    ) -> None:
        self._client = client
        self._core = core
        self._user_id = user_id
        self._event = event
        self._quantity = quantity
        self._metadata = dict(metadata or {})
        self._fit = fit
        self._ttl = ttl_seconds
        self._key = idempotency_key
        self._streaming = streaming
        self._figures = Figures()
        self._outcome: Outcome | None = None
        self._drawn = False
        self._decision: Decision | None = None
        self._settlement: Settlement | None = None
        self._beat: runtime.Later | None = None
        self._over = False

    @property
    def decision(self) -> Decision:
        """The gateway's decision on entry.

        Example::

            r.decision.counters[0].remaining
        """
        if self._decision is None:
            raise RuntimeError("the reservation has not started: use it as a context manager")
        return self._decision

    @property
    def reservation_id(self) -> str | None:
        """The reservation's id; None if nothing is metered (unmatched event, degraded decision)."""
        return self.decision.reservation_id

    @property
    def fitted(self) -> Mapping[str, int]:
        """With ``fit``: the value that was held, by its field. Empty if the gateway could not be reached.

        Example::

            max_tokens = r.fitted.get("completion_tokens", 256)
        """
        return self.decision.fitted or {}

    @property
    def settlement(self) -> Settlement | None:
        """The answer to the commit or release; None while the reservation is open."""
        return self._settlement

    @property
    def used(self) -> bool:
        """True if an amount above 0 was reported."""
        return self._figures.spent

    def use(self, quantity: Number | None = None, metadata: Metadata | None = None, **sums: Number) -> None:
        """Reports actual usage. Quantities of several reports add up, and so do ``sums`` (numeric metadata such as
        ``completion_tokens=12``); ``metadata`` replaces earlier values of the same name. 0 is allowed.

        Example::

            r.use(812, {"model": "small"}, prompt_tokens=300, completion_tokens=512)
        """
        self._figures.add(quantity, metadata, sums)

    def outcome(self, outcome: Outcome) -> None:
        """Sets whether the end user accepted the result: ``"accepted"`` or ``"rejected"``.

        Example::

            r.outcome("rejected")
        """
        self._outcome = outcome

    async def draw(
        self, quantity: Number | None = None, metadata: Metadata | None = None, *, idempotency_key: str | None = None
    ) -> Settlement:
        """Charges this amount now and keeps the rest of the hold: one step of an agent run.

        After draws, the end of the block commits only the figures that ``use`` reported, and releases the rest.

        Example::

            await r.draw(1_800)
        """
        if self.reservation_id is None:
            self.use(quantity, metadata)
            return quiet_settlement("", "unmetered", self.decision.degraded)
        self._drawn = True
        return await self._client.commit(
            self.reservation_id,
            quantity=quantity,
            metadata=metadata,
            final=False,
            idempotency_key=idempotency_key,
        )

    async def extend(self, *, ttl_seconds: int | None = None, quantity: Number | None = None) -> Decision:
        """Adds time (the client does that by itself, too), amount, or both; without room ``allowed`` is False.

        Example::

            if not (await r.extend(quantity=1_000)).allowed: ...
        """
        if self.reservation_id is None:
            return self.decision
        return await self._client.extend(self.reservation_id, ttl_seconds=ttl_seconds, quantity=quantity)

    async def count(
        self, items: AsyncIterable[T], quantity: Callable[[T], Number] = lambda item: 1
    ) -> AsyncGenerator[T, None]:
        """Yields the items and reports each with ``use``: 1 each, or the result of ``quantity``.

        Example::

            async for chunk in r.count(chunks, lambda chunk: chunk.tokens): ...
        """
        async for item in items:
            self.use(quantity(item))
            yield item

    async def commit(self) -> Settlement:
        """Commits the reported figures now; the end of the block then does nothing.

        Example::

            await r.commit()
        """
        return await self._end(self._commit)

    async def release(self, *, reason: str | None = None, error_code: str | None = None) -> Settlement:
        """Releases the hold now; the end of the block then does nothing.

        Example::

            await r.release(reason="cached")
        """
        return await self._end(lambda: self._release(reason, error_code))

    def dropped(self, settle: runtime.Work[Any]) -> None:
        """Settles a reservation whose wrapper was garbage-collected before its end."""
        self._core.background.dropped(settle)

    async def __aenter__(self) -> AsyncReservation:
        decision = await self._core.background.or_undo(self._reserve, self._client.release)
        if not decision.allowed:
            raise denial(decision)
        self._decision = decision
        if decision.reservation_id is not None:
            self._next_beat()
        return self

    async def _reserve(self) -> Decision:
        body = event_body(self._user_id, self._event, self._quantity, self._metadata, self._fit)
        try:
            return await self._client._gateway_decision(body, self._ttl, self._key, None)
        except GatewayUnavailable:
            if self._core.options.on_unavailable == "deny":
                raise
            return unavailable_decision("allow")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._over:
            return
        if error is None and not self._streaming:
            await self._end(self._commit)
            return
        try:
            if self._streaming and self.used:
                await self._end(self._commit)
            else:
                name = None if kind is None else kind.__name__
                await self._end(lambda: self._release(None if name is None else "error", name))
        except QuotagateError as failure:
            # The caller gets the application's own error, not this one.
            if error is None:
                raise
            logger.error("settling %s failed: %s", self.reservation_id, failure)

    async def _end(self, settle: runtime.Work[Settlement]) -> Settlement:
        """Settles once, and completely, even if the caller is cancelled."""
        if self._settlement is not None:
            return self._settlement
        self._over = True
        if self._beat is not None:
            self._beat.cancel()
        self._settlement = await self._core.background.to_end(settle)
        return self._settlement

    async def _commit(self) -> Settlement:
        if self.reservation_id is None:
            return await self._unmetered()
        if self._drawn and not self._figures.any:
            return await self._client.release(self.reservation_id)
        fields = self._figures.fields()
        return await self._client.commit(self.reservation_id, outcome=self._outcome, **fields)

    async def _release(self, reason: str | None, error_code: str | None) -> Settlement:
        return await self._client.release(self.decision, reason=reason, error_code=error_code)

    async def _unmetered(self) -> Settlement:
        """Without a reservation. If the gateway could not be reached (``on_unavailable="allow"``), the client tracks
        the usage later. If the gateway answered, the event is unmetered."""
        if self.decision.local:
            fields = self._figures.fields()
            quantity = fields.get("quantity", self._quantity)
            metadata = {**self._metadata, **fields.get("metadata", {})}
            if quantity != 0 or self._figures.sums:
                body = event_body(self._user_id, self._event, quantity, metadata)
                await self._core.track_surely(body, None, None)
                return quiet_settlement("", "undelivered", degraded=True)
        return quiet_settlement("", "unmetered", self.decision.degraded)

    def _next_beat(self) -> None:
        # Two beats fit into the time to live, so that one may get lost.
        self._beat = self._core.background.later(self._ttl / 3, self._extend_in_time)

    async def _extend_in_time(self) -> None:
        if self._over or self.reservation_id is None:
            return
        try:
            await self._client.extend(self.reservation_id, ttl_seconds=self._ttl)
        except Denied:
            pass
        except QuotagateError as error:
            if 400 <= error.status < 500:
                # The reservation has ended, or its 24 hours are over.
                logger.warning("reservation %s is no longer extended: %s", self.reservation_id, error)
                return
        if not self._over:
            self._next_beat()


class AsyncReservations(AsyncMetering):
    """Part of the client: reservations as context managers."""

    def reservation(
        self,
        user_id: str,
        event: str,
        quantity: Number = 1,
        metadata: Metadata | None = None,
        *,
        fit: FitBody | None = None,
        ttl_seconds: int = 60,
        idempotency_key: str | None = None,
    ) -> AsyncReservation:
        """Reserves, runs the block, and commits the figures that it reports with ``use`` (without reports the held
        amounts). Releases on an error or cancellation. While the block runs longer than ``ttl_seconds`` (1 to 3600),
        the client extends the hold. With ``fit`` it holds as much of one figure as fits: see ``fitted``.

        Raises ``Denied`` (or the subclass for the reason, such as ``LimitReached``) before the block runs, and
        ``GatewayUnavailable`` if the gateway cannot be reached and ``on_unavailable`` is ``"deny"``.

        Example::

            async with client.reservation("u_42", "llm.tokens", 4_000) as r:
                answer = await llm(prompt)
                r.use(answer.tokens)
        """
        return self._reservation(user_id, event, quantity, metadata, fit, ttl_seconds, idempotency_key, False)

    def stream_reservation(
        self,
        user_id: str,
        event: str,
        quantity: Number,
        metadata: Metadata | None = None,
        *,
        fit: FitBody | None = None,
        ttl_seconds: int = 60,
        idempotency_key: str | None = None,
    ) -> AsyncReservation:
        """The same for streams: reserves the largest possible amount, counts what is produced, and commits the counted
        amount when the block ends, also when the consumer stops early or on an error or cancellation. If nothing was
        counted, it releases everything.

        Example::

            async with client.stream_reservation("u_42", "llm.tokens", 4_000) as r:
                async for chunk in r.count(chunks, lambda chunk: chunk.tokens):
                    await send(chunk)
        """
        return self._reservation(user_id, event, quantity, metadata, fit, ttl_seconds, idempotency_key, True)

    def _reservation(
        self,
        user_id: str,
        event: str,
        quantity: Number,
        metadata: Metadata | None,
        fit: FitBody | None,
        ttl_seconds: int,
        idempotency_key: str | None,
        streaming: bool,
    ) -> AsyncReservation:
        return AsyncReservation(
            self,
            self._core,
            user_id=user_id,
            event=event,
            quantity=quantity,
            metadata=metadata,
            fit=fit,
            ttl_seconds=ttl_seconds,
            idempotency_key=idempotency_key,
            streaming=streaming,
        )
