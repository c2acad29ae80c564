"""Many operations in one request, from the application and from the background."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from quotagate import (
    CanUse,
    Client,
    Decision,
    GatewayUnavailable,
    Operation,
    QuotagateError,
    Settlement,
    Tracked,
    Undelivered,
)
from tests.gateway import Sandbox, group
from tests.proxy import Proxy, always
from tests.waiting import DEADLINE

Subscribed = Callable[..., str]


def used_and_held(sandbox: Sandbox, user: str) -> tuple[object, object]:
    with sandbox.client() as direct:
        counter = direct.usage(user).counters[0]
    return counter.used, counter.held


def test_each_operation_has_the_answer_of_its_call(client: Client, sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    first = client.reserve(user, "image.render", 10)
    results = client.batch(
        [
            {"op": "reserve", "userId": user, "event": "image.render", "quantity": "5"},
            {"op": "reserve", "userId": user, "event": "image.render", "quantity": 500},
            {"op": "commit", "reservationId": first.reservation_id or "", "quantity": 6},
            {"op": "track", "userId": user, "event": "image.render", "quantity": 7},
            {"op": "track", "userId": user, "event": "image.render", "quantity": 700, "enforce": True},
            {"op": "can-use", "userId": user, "event": "image.render"},
            {"op": "extend", "reservationId": "rsv_nothing", "ttlSeconds": 60},
            {"op": "reserve", "userId": user, "event": ""},
        ]
    )
    held, denied, committed, tracked, refused, may, unknown, wrong = results
    assert isinstance(held.body, Decision)
    assert held.body.allowed
    assert isinstance(denied.body, Decision)
    assert denied.body.reasons == ("limit_reached",)
    assert isinstance(committed.body, Settlement)
    assert committed.body.status == "committed"
    assert isinstance(tracked.body, Tracked)
    assert tracked.body.event_id is not None
    assert isinstance(refused.body, Tracked)
    assert (refused.ok, refused.status, refused.body.counted) == (True, 429, False)
    assert isinstance(may.body, CanUse)
    assert may.body.allowed
    assert unknown.error is not None
    assert (unknown.ok, unknown.body, unknown.error.code) == (False, None, "not_found")
    assert wrong.error is not None
    assert [error.field for error in wrong.error.errors] == ["event"]
    assert used_and_held(sandbox, user) == (13, 5)
    assert client.release(held.body).status == "released"


def test_a_batch_is_refused_as_a_whole(client: Client, subscribed: Subscribed) -> None:
    operation: Operation = {"op": "track", "userId": subscribed(group(100)), "event": "image.render"}
    for count in (0, 101):
        with pytest.raises(QuotagateError) as refused:
            client.batch([operation] * count)
        assert (refused.value.status, refused.value.code) == (400, "invalid_request")


@pytest.mark.anyio
async def test_a_retried_batch_counts_nothing_twice(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    faults = ["cut_after", "unavailable", "not_json"]

    def choose(line: str, request: bytes) -> str:
        return faults.pop() if "/batch " in line and faults else "pass"

    with Proxy(sandbox.gateway.url, choose) as proxy:
        async with sandbox.async_client(base_url=proxy.url) as client:
            results = await client.batch(
                [
                    {"op": "track", "userId": user, "event": "image.render", "quantity": 5},
                    {"op": "track", "userId": user, "event": "image.render", "quantity": 6, "idempotencyKey": "mine"},
                ]
            )
            assert [result.replayed for result in results] == [True, True]
            alone = await client.track(user, "image.render", 6, idempotency_key="mine")
            assert isinstance(results[1].body, Tracked)
            assert results[1].body.event_id == alone.event_id
        assert len(set(proxy.keys("batch"))) == 1
    assert used_and_held(sandbox, user) == (11, 0)


def test_without_a_usable_answer_it_raises(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    with Proxy(sandbox.gateway.url, always("pass")) as proxy, sandbox.client(base_url=proxy.url, retries=0) as client:
        for fault in ("cut_before", "unavailable", "not_json_before"):
            proxy.choose = always(fault)
            with pytest.raises(GatewayUnavailable):
                client.batch([{"op": "track", "userId": user, "event": "image.render"}])


def test_an_operation_does_not_overtake_a_waiting_draw(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(100))
    with (
        Proxy(sandbox.gateway.url, always("pass")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0) as client,
    ):
        decision = client.reserve(user, "agent.run", 10)
        proxy.choose = lambda line, request: "cut_before" if "/commit " in line else "pass"
        client.commit(decision, quantity=4, final=False)
        release, track = client.batch(
            [
                {"op": "release", "reservationId": decision.reservation_id or ""},
                {"op": "track", "userId": user, "event": "agent.run"},
            ]
        )
        assert isinstance(release.error, GatewayUnavailable)
        assert track.ok
        proxy.choose = always("pass")
        assert client.flush(DEADLINE) == 0
        assert client.release(decision).status == "released"
    assert used_and_held(sandbox, user) == (5, 0)


def operations(proxy: Proxy) -> list[int]:
    """The number of operations in each batch that arrived."""
    return [
        len(json.loads(request.split(b"\r\n\r\n", 1)[1])["operations"])
        for line, request in proxy.requests
        if "/batch " in line
    ]


def waiting(client: Client, proxy: Proxy, user: str, count: int) -> list[str]:
    """Reservations whose commits wait until the proxy lets requests through."""
    decisions = [client.reserve(user, "image.render", 5) for _ in range(count)]
    proxy.choose = always("unavailable")
    for decision in decisions:
        assert client.commit(decision, quantity=2).status == "undelivered"
    return [decision.reservation_id or "" for decision in decisions]


def test_waiting_calls_are_sent_in_batches_and_a_single_one_alone(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(10_000))
    lost: list[Undelivered] = []
    with (
        Proxy(sandbox.gateway.url, always("pass")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0, on_undelivered=lost.append) as client,
    ):
        waiting(client, proxy, user, 130)
        proxy.requests.clear()
        proxy.choose = always("pass")
        assert client.flush(DEADLINE) == 0
        # The client's own next round may have started with the first waiting calls.
        sizes = operations(proxy)
        assert sum(sizes) + len(proxy.keys("commit")) == 130
        assert len(sizes) <= 4
        assert max(sizes) <= 100
        waiting(client, proxy, user, 1)
        proxy.requests.clear()
        proxy.choose = always("pass")
        assert client.flush(DEADLINE) == 0
        assert not operations(proxy)
    assert (lost, used_and_held(sandbox, user)) == ([], (262, 0))


def test_a_batch_whose_answer_is_lost_counts_once(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(1_000))
    lost: list[Undelivered] = []
    with (
        Proxy(sandbox.gateway.url, always("pass")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0, on_undelivered=lost.append) as client,
    ):
        waiting(client, proxy, user, 5)
        client.track(user, "image.render", 3, keep=True)
        faults = ["half", "not_json", "cut_after"]
        proxy.choose = lambda line, request: faults.pop() if "/batch " in line and faults else "pass"
        assert client.flush(DEADLINE) == 0
        assert not faults
    assert (lost, used_and_held(sandbox, user)) == ([], (13, 0))


def test_a_refused_operation_goes_to_on_undelivered(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(1_000))
    lost: list[Undelivered] = []
    with (
        Proxy(sandbox.gateway.url, always("pass")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0, on_undelivered=lost.append) as client,
    ):
        first_id, second_id, *_ = waiting(client, proxy, user, 4)
        with sandbox.client() as other:
            other.release(first_id)
            other.commit(second_id, quantity=2)
        proxy.choose = always("pass")
        assert client.flush(DEADLINE) == 0
    assert [(one.body["reservationId"], one.error.code) for one in lost] == [(first_id, "reservation_not_pending")]
    assert used_and_held(sandbox, user) == (6, 0)


def test_a_gateway_without_batches_gets_each_call_alone(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(1_000))
    lost: list[Undelivered] = []
    with (
        Proxy(sandbox.gateway.url, always("pass")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0, on_undelivered=lost.append) as client,
    ):
        ids = waiting(client, proxy, user, 12)
        with sandbox.client() as other:
            other.release(ids[0])
        proxy.choose = lambda line, request: "not_found" if "/batch " in line else "pass"
        assert client.flush(DEADLINE) == 0
        assert proxy.met["not_found"] > 0
    assert [one.error.code for one in lost] == ["reservation_not_pending"]
    assert used_and_held(sandbox, user) == (22, 0)


def test_no_call_overtakes_a_failed_one(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(1_000))
    lost: list[Undelivered] = []
    with (
        Proxy(sandbox.gateway.url, always("pass")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0, on_undelivered=lost.append) as client,
    ):
        first, second = (client.reserve(user, "agent.run", 10) for _ in range(2))
        proxy.choose = always("unavailable")
        client.commit(first, quantity=3, final=False)
        client.release(first)
        client.commit(second, quantity=4)
        faults = ["first_not_done"]
        proxy.choose = lambda line, request: faults.pop() if "/batch " in line and faults else "pass"
        assert client.flush(DEADLINE) == 0
        assert not faults
    assert (lost, used_and_held(sandbox, user)) == ([], (7, 0))


def test_calls_wait_while_the_gateway_runs_too_many_batches(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(1_000))
    lost: list[Undelivered] = []
    with (
        Proxy(sandbox.gateway.url, always("pass")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0, on_undelivered=lost.append) as client,
    ):
        waiting(client, proxy, user, 4)
        proxy.requests.clear()
        faults = ["too_many_reads"] * 2
        proxy.choose = lambda line, request: faults.pop() if faults else "pass"
        assert client.flush(DEADLINE) == 0
        assert not proxy.keys("commit")
    assert (lost, used_and_held(sandbox, user)) == ([], (8, 0))


def test_closing_sends_a_batch(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(1_000))
    lost: list[Undelivered] = []
    with (
        Proxy(sandbox.gateway.url, always("pass")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0, on_undelivered=lost.append) as client,
    ):
        waiting(client, proxy, user, 3)
        proxy.choose = always("pass")
        client.close(DEADLINE)
    assert (lost, used_and_held(sandbox, user)) == ([], (6, 0))
