"""Reservations as context managers: they are always settled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from quotagate import AsyncClient, Client, LimitReached, QuotagateError
from quotagate.models import CounterView
from tests.gateway import Sandbox, group
from tests.proxy import Proxy, first
from tests.waiting import DEADLINE, happens, happens_async

Subscribed = Callable[..., str]


class Broken(Exception):
    """The block fails."""


def counter(client: Client, user: str) -> CounterView:
    return client.usage(user).counters[0]


def figures(client: Client, user: str) -> tuple[object, object]:
    found = counter(client, user)
    return found.used, found.held


def test_commits_the_reported_usage_or_the_hold(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    with client.reservation(user, "llm.tokens", 10) as work:
        assert work.reservation_id is not None
        assert figures(client, user) == (0, 10)
        work.use(3)
        work.use(4)
    assert work.settlement is not None
    assert work.settlement.status == "committed"
    assert figures(client, user) == (7, 0)
    with client.reservation(user, "llm.tokens", 5):
        pass
    assert figures(client, user) == (12, 0)
    with client.reservation(user, "llm.tokens", 5) as work:
        work.use(0)
    assert figures(client, user) == (12, 0)


def test_a_denial_is_raised_before_the_block_and_contains_the_decision(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(2, onLimit={"message": "All used", "fallback": {"event": "image.small"}}))
    ran = False
    with pytest.raises(LimitReached) as denied, client.reservation(user, "image.render", 5):
        ran = True
    assert not ran
    error = denied.value
    assert (error.code, error.status) == ("limit_reached", 429)
    assert error.decision.denied_by[0].remaining == 2
    assert error.decision.on_limit is not None
    assert error.decision.on_limit.message == "All used"
    assert error.decision.fallback is not None
    assert error.decision.fallback.event == "image.small"
    assert error.retry_after_ms is None
    assert "5 requested, 2 left" in str(error)


@pytest.mark.parametrize("kind", [Broken, KeyboardInterrupt, GeneratorExit, SystemExit])
def test_releases_after_any_error(client: Client, subscribed: Subscribed, kind: type[BaseException]) -> None:
    user = subscribed(group(100))
    with pytest.raises(kind), client.reservation(user, "llm.tokens", 10) as work:
        work.use(3)
        raise kind
    assert figures(client, user) == (0, 0)


def test_the_caller_gets_the_error_of_the_block(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    with pytest.raises(Broken), client.reservation(user, "llm.tokens", 10) as work:
        client.commit(work.reservation_id)
        raise Broken
    assert figures(client, user) == (10, 0)
    with pytest.raises(QuotagateError) as settled, client.reservation(user, "llm.tokens", 10) as work:
        client.release(work.reservation_id)
    assert settled.value.code == "reservation_not_pending"


def test_settled_early_and_only_once(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    with client.reservation(user, "llm.tokens", 10) as work:
        work.use(1)
        assert work.commit().status == "committed"
        assert work.release().status == "committed"
        work.use(5)
    with client.reservation(user, "llm.tokens", 10) as work:
        assert work.release(reason="cached", error_code="none").status == "released"
    assert figures(client, user) == (1, 0)


def test_draws(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(1000))
    with client.reservation(user, "agent.run", 100) as run:
        assert run.draw(30).status == "held"
        assert figures(client, user) == (30, 70)
        run.draw(20)
    # The rest is released.
    assert figures(client, user) == (50, 0)
    with client.reservation(user, "agent.run", 100) as run:
        run.draw(30)
        run.use(5)
    assert figures(client, user) == (85, 0)
    with pytest.raises(Broken), client.reservation(user, "agent.run", 100) as run:
        run.draw(10)
        assert run.extend(quantity=50).allowed
        assert not run.extend(quantity=5000).allowed
        raise Broken
    assert figures(client, user) == (95, 0)


def test_sums_and_metadata_feed_weighted_groups_exactly(client: Client, subscribed: Subscribed) -> None:
    measure = {
        "per": {"prompt_tokens": "0.0001", "completion_tokens": "0.0003"},
        "estimate": {"completion_tokens": 4000},
    }
    user = subscribed(group("100", event="llm.*", unit="cents", measure=measure))
    with client.reservation(user, "llm.chat", metadata={"prompt_tokens": 100}) as work:
        assert counter(client, user).held == Decimal("1.21")
        work.use(metadata={"model": "small"}, completion_tokens=5)
        work.use(completion_tokens=6)
    found = counter(client, user)
    assert (found.used, found.held) == (Decimal("0.0133"), 0)
    assert found.remaining == Decimal("99.9867")


def test_floats_add_up_exactly(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group("100", unit="cents"))
    with client.reservation(user, "llm.chat", 1) as work:
        for _ in range(10):
            work.use(0.1)
    assert counter(client, user).used == 1
    assert client.reserve(user, "llm.chat", Decimal("0.000001")).counters[0].held == Decimal("0.000001")


class Beats:
    """Replaces a client's timer, and stores its jobs."""

    def __init__(self) -> None:
        self.due: dict[int, tuple[float, Callable[[], Any]]] = {}
        self._count = 0

    def later(self, seconds: float, job: Callable[[], Any]) -> Beats.Later:
        self._count += 1
        self.due[self._count] = (seconds, job)
        return self.Later(self, self._count)

    def next(self) -> Any:
        """Runs the next job, which is a heartbeat three times an hour."""
        ((number, (seconds, job)),) = self.due.items()
        assert seconds == 1200
        del self.due[number]
        return job()

    class Later:
        def __init__(self, beats: Beats, number: int) -> None:
            self._beats = beats
            self._number = number

        def cancel(self) -> None:
            self._beats.due.pop(self._number, None)


def minutes(number: int) -> str:
    """The time this many minutes after the start, for the test clock."""
    return (datetime(2026, 12, 1, tzinfo=timezone.utc) + timedelta(minutes=number)).isoformat()


def test_a_long_block_extends_its_hold(
    sandbox: Sandbox, subscribed: Subscribed, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, beats = subscribed(group(100)), Beats()
    with sandbox.client() as client, sandbox.operator() as operator:
        monkeypatch.setattr(client._core.background, "later", beats.later)
        operator.admin.set_test_clock(minutes(0))
        with client.reservation(user, "video.render", 5, ttl_seconds=3600) as work:
            # After 100 minutes of a hold of 60.
            for beat in range(1, 6):
                operator.admin.set_test_clock(minutes(20 * beat))
                beats.next()
            assert counter(client, user).held == 5
        assert work.settlement is not None
        assert not work.settlement.late
        assert figures(client, user) == (5, 0)
        assert operator.admin.user(user).open_reservations == ()
    assert beats.due == {}


def test_a_reservation_that_has_ended_is_not_extended(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    released, refused = threading.Event(), threading.Event()

    def choose(line: str, request: bytes) -> str:
        if "/extend " in line and released.is_set():
            refused.set()
        return "pass"

    with (
        Proxy(sandbox.gateway.url, choose) as proxy,
        sandbox.client(base_url=proxy.url) as client,
        client.reservation(user, "video.render", 5, ttl_seconds=1) as work,
    ):
        client.release(work.reservation_id)
        released.set()
        happens("another heartbeat", refused)
        client._core.background.settled()
        assert client._core.background._due == []
        work.release()


def test_a_stream_is_charged_for_its_output_when_the_consumer_stops(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(1000, unit="tokens"))

    def produce() -> Generator[str, None, None]:
        with client.stream_reservation(user, "llm.tokens", 500) as work:
            yield from work.count(("tok " * 100).split(), len)

    assert len(list(produce())) == 100
    assert figures(client, user) == (300, 0)
    stream = produce()
    for _ in range(4):
        next(stream)
    assert figures(client, user) == (300, 500)
    stream.close()
    assert figures(client, user) == (312, 0)


def test_a_stream_that_breaks_is_charged_for_what_it_produced(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(1000, unit="tokens"))
    with pytest.raises(Broken), client.stream_reservation(user, "llm.tokens", 500) as work:
        for _ in work.count(range(7)):
            pass
        raise Broken
    assert figures(client, user) == (7, 0)
    with pytest.raises(Broken), client.stream_reservation(user, "llm.tokens", 500):
        raise Broken
    with client.stream_reservation(user, "llm.tokens", 500) as work:
        assert work.decision.counters[0].held == 500
    assert figures(client, user) == (7, 0)


@pytest.mark.anyio
async def test_cancelled_in_the_block(sandbox: Sandbox, client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    begun = asyncio.Event()

    async def work() -> None:
        async with asynchronous.reservation(user, "llm.tokens", 10) as r:
            r.use(3)
            begun.set()
            await asyncio.Event().wait()

    async with sandbox.async_client() as asynchronous:
        task = asyncio.ensure_future(work())
        await asyncio.wait_for(begun.wait(), DEADLINE)
        assert figures(client, user) == (0, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert figures(client, user) == (0, 0)


@pytest.mark.anyio
async def test_cancelled_again_during_the_release(sandbox: Sandbox, client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    begun, releasing = asyncio.Event(), threading.Event()

    def choose(line: str, request: bytes) -> str:
        if "/release " in line:
            releasing.set()
            return "held"
        return "pass"

    async def work() -> None:
        async with asynchronous.reservation(user, "llm.tokens", 10):
            begun.set()
            await asyncio.Event().wait()

    with Proxy(sandbox.gateway.url, choose) as proxy:
        async with sandbox.async_client(base_url=proxy.url) as asynchronous:
            task = asyncio.ensure_future(work())
            await asyncio.wait_for(begun.wait(), DEADLINE)
            task.cancel()
            await happens_async("the release to be sent", releasing)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            proxy.let_go()
        # The release ran to its end, so it was sent only once.
        assert len(proxy.keys("release")) == 1
    # Closing the client waits for the release.
    assert figures(client, user) == (0, 0)


@pytest.mark.anyio
async def test_cancelled_during_the_reserve(sandbox: Sandbox, client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    reserving = threading.Event()

    def choose(line: str, request: bytes) -> str:
        if "/reserve " in line:
            reserving.set()
            return "held"
        return "pass"

    async def work() -> None:
        async with asynchronous.reservation(user, "llm.tokens", 10):
            raise AssertionError("it is cancelled before")

    with Proxy(sandbox.gateway.url, choose) as proxy:
        async with sandbox.async_client(base_url=proxy.url) as asynchronous:
            task = asyncio.ensure_future(work())
            await happens_async("the reserve to be sent", reserving)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            proxy.let_go()
        assert len(proxy.keys("release")) == 1
    assert figures(client, user) == (0, 0)


@pytest.mark.anyio
async def test_an_asynchronous_stream(sandbox: Sandbox, client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(1000, unit="tokens"))

    async def chunks() -> AsyncIterator[int]:
        for size in range(1, 100):
            await asyncio.sleep(0)
            yield size

    async with sandbox.async_client() as asynchronous:
        async with asynchronous.stream_reservation(user, "llm.tokens", 900) as work:
            async for size in work.count(chunks(), lambda size: size):
                if size == 4:
                    break
        assert figures(client, user) == (10, 0)
        begun = asyncio.Event()
        task = asyncio.ensure_future(self_stopping(asynchronous, user, begun))
        await asyncio.wait_for(begun.wait(), DEADLINE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert figures(client, user) == (15, 0)


async def self_stopping(client: AsyncClient, user: str, begun: asyncio.Event) -> None:
    async with client.stream_reservation(user, "llm.tokens", 100) as work:
        work.use(5)
        begun.set()
        await asyncio.Event().wait()


@pytest.mark.anyio
async def test_a_long_asynchronous_block_extends_its_hold(
    sandbox: Sandbox, client: Client, subscribed: Subscribed, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, beats = subscribed(group(100)), Beats()
    with Proxy(sandbox.gateway.url, first(1, "cut_after", "extend")) as proxy, sandbox.operator() as operator:
        operator.admin.set_test_clock(minutes(0))
        async with sandbox.async_client(base_url=proxy.url) as asynchronous:
            monkeypatch.setattr(asynchronous._core.background, "later", beats.later)
            async with asynchronous.reservation(user, "video.render", 5, ttl_seconds=3600) as work:
                for beat in range(1, 6):
                    operator.admin.set_test_clock(minutes(20 * beat))
                    await beats.next()
            assert work.settlement is not None
            assert not work.settlement.late
        # The extend whose answer was lost was retried with its key.
        keys = proxy.keys("extend")
        assert (len(keys), len(set(keys))) == (6, 5)
    assert figures(client, user) == (5, 0)
