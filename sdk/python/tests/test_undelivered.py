"""Commits that cannot be delivered: stored, delivered later, or passed to on_undelivered."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from quotagate import Client, Undelivered, _lifetimes
from tests.gateway import Sandbox, environment, group
from tests.proxy import Proxy, always, first
from tests.waiting import DEADLINE, happens, happens_async

Subscribed = Callable[..., str]


def used_and_held(sandbox: Sandbox, user: str) -> tuple[object, object]:
    with sandbox.client() as direct:
        counter = direct.usage(user).counters[0]
    return counter.used, counter.held


def test_delivered_in_the_background_in_order(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    lost: list[Undelivered] = []
    with Proxy(sandbox.gateway.url, always("pass")) as proxy:
        with sandbox.client(base_url=proxy.url, retries=0, on_undelivered=lost.append) as client:
            decision = client.reserve(user, "agent.run", 10)
            # The draw arrives, but its answer is lost. Later calls must not overtake it.
            proxy.choose = first(1, "cut_after", "commit")
            drawn = client.commit(decision, quantity=4, final=False)
            assert (drawn.status, drawn.degraded, drawn.counters) == ("undelivered", True, ())
            assert client.commit(decision, quantity=1).status == "undelivered"
            assert client.release(decision).status == "undelivered"
            assert client.undelivered == 3
            assert client.flush(DEADLINE) == 0
        keys = proxy.keys("commit")
        assert len(keys) == 3
        assert keys[0] == keys[1] != keys[2]
    assert used_and_held(sandbox, user) == (5, 0)
    assert lost == []


def test_stored_calls_are_retried_without_another_call(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    delivered = threading.Event()

    def choose(line: str, request: bytes) -> str:
        if "/commit " in line:
            return "unavailable" if choices.pop() else "pass"
        return "pass"

    choices = [False, True, True]
    with (
        Proxy(sandbox.gateway.url, choose) as proxy,
        sandbox.client(base_url=proxy.url, retries=0) as client,
        sandbox.client() as watcher,
    ):
        decision = client.reserve(user, "image.render", 7)
        assert client.commit(decision).status == "undelivered"

        def watch() -> None:
            for usage in watcher.watch_usage(user):
                if usage.counters[0].used == 7:
                    delivered.set()
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        happens("the commit to be delivered", delivered)
        thread.join()
        assert proxy.met["unavailable"] == 2
    assert used_and_held(sandbox, user) == (7, 0)


def test_a_refused_call_goes_to_on_undelivered(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    lost: list[Undelivered] = []
    with (
        Proxy(sandbox.gateway.url, first(1, "cut_before", "commit")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0, on_undelivered=lost.append) as client,
    ):
        decision = client.reserve(user, "image.render")
        assert client.commit(decision, quantity=3, idempotency_key="order-7").status == "undelivered"
        with sandbox.client() as other:
            other.release(decision)
        assert client.flush(DEADLINE) == 0
    (one,) = lost
    assert (one.call, one.idempotency_key, one.error.code) == ("commit", "order-7", "reservation_not_pending")
    assert one.body == {"reservationId": decision.reservation_id, "quantity": 3}
    assert one.attempts == 2


def test_close_passes_the_remaining_calls_to_on_undelivered(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    lost: list[Undelivered] = []

    def receive(one: Undelivered) -> None:
        lost.append(one)
        raise RuntimeError("the application's own fault")

    with Proxy(sandbox.gateway.url, always("pass")) as proxy:
        with sandbox.client(base_url=proxy.url, retries=0, on_undelivered=receive) as client:
            decisions = [client.reserve(user, "image.render") for _ in range(5)]
            proxy.choose = always("unavailable")
            for decision in decisions:
                client.commit(decision)
            client.release(client.reserve(user, "image.render"))
            client.track(user, "image.render", keep=True)
        # A commit after close goes to on_undelivered at once.
        with pytest.raises(RuntimeError):
            client.commit(decisions[0])
    assert [one.body.get("reservationId") for one in lost[:5]] == [each.reservation_id for each in decisions]
    assert [one.call for one in lost] == ["commit"] * 5 + ["track", "commit"]
    assert {one.error.code for one in lost} == {"gateway_unavailable"}


class StandingClock:
    """Returns without waiting."""

    @staticmethod
    def monotonic() -> float:
        return 7.0


def test_an_expired_call_goes_to_on_undelivered(
    sandbox: Sandbox, subscribed: Subscribed, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = subscribed(group(100))
    lost: list[Undelivered] = []
    monkeypatch.setattr(_lifetimes, "time", StandingClock)
    with Proxy(sandbox.gateway.url, always("pass")) as proxy:
        with sandbox.client(base_url=proxy.url, retries=0, on_undelivered=lost.append) as client:
            decision = client.reserve(user, "image.render", ttl_seconds=100)
            assert decision.reservation_id is not None
            lifetimes = client._core.lifetimes
            assert lifetimes.settle_seconds(decision.reservation_id) == 100 + 900
            assert lifetimes.settle_seconds("made elsewhere") == 900
            client.extend(decision, ttl_seconds=3600)
            assert lifetimes.settle_seconds(decision.reservation_id) == 3600 + 900
            # The call expires after its first attempt.
            monkeypatch.setattr(lifetimes, "settle_seconds", lambda _: 0.0)
            proxy.choose = always("cut_before")
            assert client.commit(decision).status == "undelivered"
            assert client.flush(DEADLINE) == 0
        assert proxy.met["cut_before"] == 1
    assert [one.body["reservationId"] for one in lost] == [decision.reservation_id]


def test_a_draw_is_not_retried_after_its_key_has_expired(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    with Proxy(sandbox.gateway.url, always("pass")) as proxy:
        client = sandbox.client(base_url=proxy.url, retries=0, on_undelivered=lambda lost: None)
        decision = client.reserve(user, "agent.run", 10, ttl_seconds=3600)
        proxy.choose = always("cut_after")
        client.commit(decision, quantity=1, final=False)
        client.commit(client.reserve(user, "other").reservation_id or "rsv_unknown")
        draw = next(iter(client._core.backlog._kept.values()))
        assert draw.keep_seconds < 900
        client.close(0)


def test_undelivered_calls_are_logged_by_default(
    sandbox: Sandbox, subscribed: Subscribed, caplog: pytest.LogCaptureFixture
) -> None:
    user = subscribed(group(100))
    with Proxy(sandbox.gateway.url, always("pass")) as proxy, sandbox.client(base_url=proxy.url, retries=0) as client:
        decision = client.reserve(user, "image.render")
        proxy.choose = always("cut_before")
        with caplog.at_level(logging.ERROR, "quotagate"):
            client.commit(decision)
            client.close()
    assert f"undelivered commit of {decision.reservation_id}" in caplog.text
    assert sandbox.key not in caplog.text


PROCESS = """
import sys
from quotagate import Client
receive = lambda lost: print(lost.call, lost.body)
client = Client(api_key=sys.argv[1], base_url=sys.argv[2], retries=0, on_undelivered=receive)
decision = client.reserve(sys.argv[3], "image.render")
print(client.commit(decision).status)
"""


def test_a_process_that_ends_without_close_reports_undelivered_calls(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    with Proxy(sandbox.gateway.url, first(100, "cut_before", "commit")) as proxy:
        done = subprocess.run(
            [sys.executable, "-c", PROCESS, sandbox.key, proxy.url, user],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
            env=environment(),
        )
    first_line, second_line = done.stdout.splitlines()
    assert first_line == "undelivered"
    assert second_line.startswith("commit {'reservationId': 'rsv_")


@pytest.mark.anyio
async def test_a_cancelled_commit_is_delivered(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    arrived = threading.Event()

    def choose(line: str, request: bytes) -> str:
        if "/commit " in line and not arrived.is_set():
            arrived.set()
            return "held"
        return "pass"

    with Proxy(sandbox.gateway.url, choose) as proxy:
        async with sandbox.async_client(base_url=proxy.url) as client:
            decision = await client.reserve(user, "image.render", 6)
            task = asyncio.ensure_future(client.commit(decision))
            await happens_async("the commit to be sent", arrived)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert client.undelivered == 1
            assert await client.flush(DEADLINE) == 0
    assert used_and_held(sandbox, user) == (6, 0)


@pytest.mark.anyio
async def test_an_asynchronous_receiver(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    lost: list[Undelivered] = []

    async def receive(one: Undelivered) -> None:
        await asyncio.sleep(0)
        lost.append(one)

    with Proxy(sandbox.gateway.url, always("pass")) as proxy:
        async with sandbox.async_client(base_url=proxy.url, retries=0, on_undelivered=receive) as client:
            decision = await client.reserve(user, "image.render")
            proxy.choose = always("unavailable")
            assert (await client.commit(decision)).status == "undelivered"
    assert [one.body for one in lost] == [{"reservationId": decision.reservation_id}]


@pytest.mark.anyio
async def test_a_dropped_asynchronous_client_logs_undelivered_calls(
    sandbox: Sandbox, subscribed: Subscribed, caplog: pytest.LogCaptureFixture
) -> None:
    user = subscribed(group(100))

    async def receive(one: Undelivered) -> None:
        raise AssertionError("it cannot be awaited")

    async def forget(url: str) -> str | None:
        client = sandbox.async_client(base_url=url, retries=0, on_undelivered=receive)
        decision = await client.reserve(user, "image.render")
        proxy.choose = always("unavailable")
        await client.commit(decision)
        await client._core.transport.aclose()
        return decision.reservation_id

    with Proxy(sandbox.gateway.url, always("pass")) as proxy:
        reservation_id = await forget(proxy.url)
        gc.collect()
    assert f"undelivered commit of {reservation_id}" in caplog.text


def test_a_degraded_but_allowed_call_is_counted_later(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    with (
        Proxy(sandbox.gateway.url, always("unavailable")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0, on_unavailable="allow") as client,
    ):
        assert isinstance(client, Client)
        decision = client.reserve(user, "image.render")
        assert (decision.allowed, decision.degraded, decision.reservation_id) == (True, True, None)
        assert client.commit(decision).status == "unmetered"
        assert client.can_use(user, "image.render").degraded
        with client.reservation(user, "image.render", 5) as work:
            assert work.decision.degraded
            work.use(3)
        assert work.settlement is not None
        assert work.settlement.status == "undelivered"
        with client.reservation(user, "image.render", 5) as work:
            work.draw(1)
            work.draw(1)
        with pytest.raises(RuntimeError), client.reservation(user, "image.render", 5):
            raise RuntimeError
        proxy.choose = always("pass")
        assert client.flush(DEADLINE) == 0
    assert used_and_held(sandbox, user) == (5, 0)


def test_deny_when_unavailable(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    with (
        Proxy(sandbox.gateway.url, always("unavailable")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0) as client,
    ):
        decision = client.reserve(user, "image.render")
        assert (decision.allowed, decision.degraded, decision.reasons) == (False, True, ("gateway_unavailable",))
        assert not client.can(user, "image.render")
