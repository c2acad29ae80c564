"""Faults between client and gateway: nothing counts twice, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from quotagate import AsyncClient, Client, GatewayUnavailable, QuotagateError
from quotagate._sync import runtime, transport
from tests.gateway import ADMIN_KEY, PATIENT, Gateway, Sandbox, group
from tests.proxy import FAULTS, Proxy, Shuffled, always, first
from tests.waiting import DEADLINE

Subscribed = Callable[..., str]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_retried_with_the_same_key_and_counts_once(
    sandbox: Sandbox, subscribed: Subscribed, fault: str
) -> None:
    user = subscribed(group(100))
    with Proxy(sandbox.gateway.url, first(2, fault)) as proxy, proxy.http() as http:
        with sandbox.client(base_url=proxy.url, http=http) as client:
            decision = client.reserve(user, "image.render", 5)
            assert decision.allowed
            assert not decision.degraded
            proxy.choose = first(1, fault)
            assert client.commit(decision, quantity=3).status == "committed"
            proxy.choose = first(1, fault)
            assert client.track(user, "image.render", 2).counted
        assert proxy.met[fault] == 4
        for path, attempts in (("reserve", 3), ("commit", 2), ("track", 2)):
            keys = proxy.keys(path)
            assert len(keys) == attempts
            assert len(set(keys)) == 1
    with sandbox.client() as direct:
        counter = direct.usage(user).counters[0]
    assert (counter.used, counter.held) == (5, 0)


def test_an_html_page_with_status_200_is_no_answer(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    with (
        Proxy(sandbox.gateway.url, always("not_json_before")) as proxy,
        sandbox.client(base_url=proxy.url, deadline=0.5) as client,
    ):
        assert client.reserve(user, "image.render").reasons == ("gateway_unavailable",)
        with pytest.raises(GatewayUnavailable):
            client.usage(user)


def test_a_read_is_retried_after_too_many_reads(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    with Proxy(sandbox.gateway.url, first(2, "too_many_reads")) as proxy:
        with sandbox.client(base_url=proxy.url) as client:
            assert client.usage(user).user_id == user
            assert proxy.met["too_many_reads"] == 2
            # A stream waits, too.
            proxy.choose = first(1, "too_many_reads", "usage/stream")
            stream = client.watch_usage(user)
            assert next(stream).user_id == user
            stream.close()
            assert proxy.met["too_many_reads"] == 3
            # With a limit of attempts, the error contains the reason.
            proxy.choose = always("too_many_reads")
        with sandbox.client(base_url=proxy.url, retries=1) as client:
            with pytest.raises(QuotagateError) as refused:
                client.usage(user)
            assert (refused.value.code, refused.value.status) == ("too_many_reads", 429)


def test_retry_after_is_honoured(sandbox: Sandbox, subscribed: Subscribed, monkeypatch: pytest.MonkeyPatch) -> None:
    user = subscribed(group(100))
    waits: list[float] = []
    monkeypatch.setattr(runtime, "sleep", waits.append)
    with Proxy(sandbox.gateway.url, first(1, "unavailable"), retry_after="1") as proxy:
        with sandbox.client(base_url=proxy.url) as client:
            assert client.reserve(user, "image.render").allowed
        assert len(waits) == 1
        assert waits[0] >= 1
        # The client does not retry if Retry-After is later than the deadline.
        proxy.choose, proxy.retry_after = always("unavailable"), "600"
        with sandbox.client(base_url=proxy.url) as client:
            assert client.reserve(user, "image.render").degraded
        assert proxy.met["unavailable"] == 2
        assert len(waits) == 1


class Clock:
    """A clock that moves only when the client waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_deadline_limits_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(transport, "time", clock)
    monkeypatch.setattr(runtime, "sleep", clock.sleep)
    attempts: list[float] = []

    def hang(request: httpx.Request) -> httpx.Response:
        attempts.append(request.extensions["timeout"]["read"])
        clock.sleep(attempts[-1])
        raise httpx.ReadTimeout("it hangs", request=request)

    options: dict[str, Any] = {"api_key": "sk_test_0123456789", "timeout": 0.2, "deadline": 0.5, "retries": 50}
    with httpx.Client(transport=httpx.MockTransport(hang)) as http, Client(http=http, **options) as client:
        with pytest.raises(GatewayUnavailable):
            client.usage("u_42")
        # The retries alone would take more than 50 times 0.2 s.
        assert 2 <= len(attempts) <= 3
        assert clock.now <= 0.5
        attempts.clear()
        with pytest.raises(GatewayUnavailable):
            client.track("u_42", "image.render", deadline=0.1)
        assert attempts == [pytest.approx(0.1)]


def test_other_4xx_are_never_retried(sandbox: Sandbox) -> None:
    with Proxy(sandbox.gateway.url, always("pass")) as proxy:
        with sandbox.client(base_url=proxy.url) as client:
            with pytest.raises(QuotagateError) as refused:
                client.reserve("u", "image.render", -1)
            assert (refused.value.code, refused.value.status) == ("invalid_request", 400)
            assert [error.field for error in refused.value.errors] == ["quantity"]
            with pytest.raises(QuotagateError):
                client.upsert_subscription("u", "no_such_plan")
        assert proxy.met["pass"] == 2


def test_a_deletion_whose_answer_was_lost_is_no_error(gateway: Gateway) -> None:
    key = gateway.admin.admin.create_key("secret", mode="test", sandbox="deleted")
    with (
        Proxy(gateway.url, first(1, "cut_after")) as proxy,
        Client(api_key=ADMIN_KEY, base_url=proxy.url, **PATIENT) as operator,
    ):
        operator.admin.delete_key(key.id)
        assert (proxy.met["cut_after"], proxy.met["pass"]) == (1, 1)
        with pytest.raises(QuotagateError) as missing:
            operator.admin.delete_key(key.id)
        assert missing.value.code == "not_found"


class Expected:
    """Operations and the usage that they add up to. The plan has room for all of them."""

    def __init__(self, seed: int, operations: int) -> None:
        source = random.Random(seed)
        kinds = ("commit", "commit_less", "commit_more", "release", "draw", "track", "block", "block_error")
        self.work = [(source.choice(kinds), source.randint(2, 9)) for _ in range(operations)]
        self.used = sum(self.amount(kind, size) for kind, size in self.work)

    @staticmethod
    def amount(kind: str, size: int) -> int:
        return {"commit_less": size - 1, "commit_more": size + 5, "release": 0, "block_error": 0}.get(kind, size)


class Broken(Exception):
    """The work of a reservation fails."""


def operate(client: Client, frail: Client, user: str, kind: str, size: int) -> None:
    """``frail`` never retries at once: it leaves failed calls to its background."""
    if kind == "track":
        frail.track(user, "llm.tokens", size, keep=True)
        return
    if kind.startswith("block"):
        try:
            with client.reservation(user, "llm.tokens", 10) as work:
                work.use(size)
                if kind == "block_error":
                    raise Broken
        except Broken:
            pass
        return
    decision = client.reserve(user, "llm.tokens", size)
    assert decision.reservation_id, decision
    if kind == "release":
        frail.release(decision)
    elif kind == "draw":
        frail.commit(decision, quantity=1, final=False)
        frail.commit(decision)
    else:
        frail.commit(decision, quantity=None if kind == "commit" else Expected.amount(kind, size))


async def operate_async(client: AsyncClient, frail: AsyncClient, user: str, kind: str, size: int) -> None:
    if kind == "track":
        await frail.track(user, "llm.tokens", size, keep=True)
        return
    if kind.startswith("block"):
        try:
            async with client.reservation(user, "llm.tokens", 10) as work:
                work.use(size)
                if kind == "block_error":
                    raise Broken
        except Broken:
            pass
        return
    decision = await client.reserve(user, "llm.tokens", size)
    assert decision.reservation_id, decision
    if kind == "release":
        await frail.release(decision)
    elif kind == "draw":
        await frail.commit(decision, quantity=1, final=False)
        await frail.commit(decision)
    else:
        await frail.commit(decision, quantity=None if kind == "commit" else Expected.amount(kind, size))


def check(sandbox: Sandbox, user: str, expected: Expected, faults: Shuffled) -> None:
    for path in ("reserve", "commit", "release", "track"):
        assert all(faults.met[path, fault] for fault in FAULTS), faults.met
    with sandbox.client() as direct:
        counter = direct.usage(user).counters[0]
    assert (counter.used, counter.held) == (expected.used, 0)


def test_every_fault_of_every_call_counts_exactly(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(10**9, unit="tokens"))
    expected, faults = Expected(1, 300), Shuffled(2)
    lost: list[object] = []
    with Proxy(sandbox.gateway.url, faults) as proxy, proxy.http() as http:
        # Reserves are retried until they are answered; other calls are left to the background.
        options = {"base_url": proxy.url, "http": http, "on_undelivered": lost.append}
        with sandbox.client(retries=40, **options) as client, sandbox.client(retries=0, **options) as frail:
            with ThreadPoolExecutor(16) as workers:
                list(workers.map(lambda each: operate(client, frail, user, *each), expected.work))
            assert client.flush(DEADLINE) == 0
            assert frail.flush(DEADLINE) == 0
    check(sandbox, user, expected, faults)
    assert lost == []


@pytest.mark.anyio
async def test_every_fault_of_every_asynchronous_call_counts_exactly(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(10**9, unit="tokens"))
    expected, faults = Expected(3, 300), Shuffled(4)
    lost: list[object] = []
    with Proxy(sandbox.gateway.url, faults) as proxy:
        options: dict[str, Any] = {"base_url": proxy.url, "on_undelivered": lost.append}
        async with (
            proxy.async_http() as http,
            sandbox.async_client(retries=40, http=http, **options) as client,
            sandbox.async_client(retries=0, http=http, **options) as frail,
        ):
            room = asyncio.Semaphore(16)

            async def one(kind: str, size: int) -> None:
                async with room:
                    await operate_async(client, frail, user, kind, size)

            await asyncio.gather(*(one(kind, size) for kind, size in expected.work))
            assert await client.flush(DEADLINE) == 0
            assert await frail.flush(DEADLINE) == 0
    check(sandbox, user, expected, faults)
    assert lost == []
