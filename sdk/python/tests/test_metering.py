"""The metering calls and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from quotagate import Client, LimitReached, QuotagateError
from quotagate.bodies import FitBody
from tests.gateway import Gateway, Sandbox, group, plan, unique
from tests.proxy import Proxy

Subscribed = Callable[..., str]


def test_repeated_commits_and_releases(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(10))
    first = client.reserve(user, "image.render", 4)
    assert not client.commit(first, quantity=3, outcome="accepted").replayed
    assert client.commit(first, quantity=3).replayed
    # Release after a commit is safe, as in `except: release`.
    quiet = client.release(first)
    assert (quiet.status, quiet.reservation_id, quiet.counters) == ("settled", first.reservation_id, ())
    second = client.reserve(user, "image.render")
    assert client.release(second).status == "released"
    assert client.release(second).replayed
    with pytest.raises(QuotagateError) as pending:
        client.commit(second)
    assert (pending.value.status, pending.value.code) == (409, "reservation_not_pending")
    with pytest.raises(QuotagateError) as unknown:
        client.release("rsv_never_given_out")
    assert unknown.value.code == "not_found"


def test_idempotency_keys(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(10))
    first = client.reserve(user, "image.render", 2, idempotency_key="job-1")
    again = client.reserve(user, "image.render", 2, idempotency_key="job-1")
    assert again.reservation_id == first.reservation_id
    assert client.reserve(user, "image.render", 2).reservation_id != first.reservation_id
    with pytest.raises(QuotagateError) as reused:
        client.reserve(user, "image.render", 3, idempotency_key="job-1")
    assert reused.value.code == "idempotency_key_reused"


def test_several_events_in_one_step(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(2, event="image.*"), group(1000, event="llm.*", unit="tokens"))
    decision = client.reserve_items(user, [{"event": "image.render"}, {"event": "llm.tokens", "quantity": 900}])
    assert decision.allowed
    assert not client.reserve_items(user, [{"event": "image.render"}, {"event": "llm.tokens", "quantity": 101}]).allowed
    assert client.commit(decision, items=[{}, {"quantity": 640}]).status == "committed"
    assert sorted(counter.used for counter in client.usage(user).counters) == [1, 640]
    assert [counter.held for counter in client.usage(user).counters] == [0, 0]


def test_fit_holds_as_much_as_fits(client: Client, subscribed: Subscribed) -> None:
    measure = {"per": {"prompt_tokens": "1", "completion_tokens": "1"}, "estimate": {"completion_tokens": 4000}}
    user = subscribed(group(3000, event="llm.*", unit="tokens", measure=measure))
    fit: FitBody = {"field": "completion_tokens", "min": 256}
    tokens = {"prompt_tokens": 200}
    assert client.can_use(user, "llm.chat", 1, tokens, fit=fit).fitted == {"completion_tokens": 2800}
    reserved = client.reserve(user, "llm.chat", 1, tokens, fit=fit)
    assert reserved.fitted == {"completion_tokens": 2800}
    client.commit(reserved, metadata={"completion_tokens": 1000})
    with client.reservation(user, "llm.chat", 1, {"prompt_tokens": 0, "completion_tokens": 1500}, fit=fit) as first:
        assert first.fitted == {"completion_tokens": 1500}
    with client.stream_reservation(user, "llm.chat", 1, {"prompt_tokens": 0}, fit=fit) as second:
        assert second.fitted["completion_tokens"] == 300
        second.use(1, completion_tokens=300)
    assert [counter.used for counter in client.usage(user).counters] == [3000]
    denied = client.reserve(user, "llm.chat", 1, {"prompt_tokens": 0}, fit=fit)
    assert (denied.allowed, denied.fitted, denied.denied_by[0].requested) == (False, None, 256)


def test_extend(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(10))
    decision = client.reserve(user, "image.render", 2, ttl_seconds=5)
    longer = client.extend(decision, ttl_seconds=3000, quantity=3)
    assert longer.allowed
    assert longer.counters[0].held == 5
    assert (longer.expires_at or "") > (decision.expires_at or "")
    denied = client.extend(decision, quantity=6)
    assert (denied.allowed, denied.reasons) == (False, ("limit_reached",))
    client.release(decision)
    with pytest.raises(QuotagateError) as over:
        client.extend(decision, ttl_seconds=10)
    assert over.value.code == "reservation_not_pending"


def test_track(sandbox: Sandbox, client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(10, event="image.*"))
    counted = client.track(user, "image.render", 12)
    assert (counted.counted, counted.match_status, counted.counters[0].overage) == (True, "over_limit", 2)
    assert counted.event_id is not None
    refused = client.track(user, "image.render", 1, enforce=True)
    assert (refused.counted, refused.match_status, refused.event_id) == (False, "over_limit", None)
    assert refused.decision is not None
    assert refused.decision.reasons == ("limit_reached",)
    assert refused.decision.rate_limit["X-RateLimit-Remaining"] == "0"
    assert client.track("nobody", "image.render", 1, enforce=True).match_status == "no_subscription"
    assert client.track(user, "audio", 1, enforce=True).match_status == "unmatched"
    assert client.track(user, "image.render.refund", 5).counters[0].used == 7
    assert client.track(user, "image.render", 1, enforce=True).counted
    with sandbox.client(throw_on_deny=True) as strict:
        with pytest.raises(LimitReached) as denied:
            strict.track(user, "image.render", 9, enforce=True)
        assert denied.value.decision.denied_by[0].requested == 9
        assert strict.can_use(user, "image.render", 9).reasons == ("limit_reached",)


def test_unmetered_events(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(10, event="image.*"), unmatchedEvents="allow")
    decision = client.reserve(user, "audio")
    assert (decision.allowed, decision.matched, decision.reservation_id) == (True, False, None)
    for settled in (client.commit(decision), client.release(decision), client.commit(None)):
        assert (settled.status, settled.degraded) == ("unmetered", False)
    with client.reservation(user, "audio") as work:
        work.use(3)
        assert work.draw(1).status == "unmetered"
        assert work.extend(quantity=5).allowed
    assert work.settlement is not None
    assert work.settlement.status == "unmetered"
    assert client.usage(user).counters[0].count == 0


def test_usage_and_subscriptions(client: Client, gateway: Gateway) -> None:
    one, two = group(10, event="image.*"), group(20, event="audio.*")
    gateway.admin.admin.put_plan(small := unique("p_"), plan(one, two))
    user = unique("u_")
    assert client.usage(user).plan_id is None
    made = client.upsert_subscription(user, small, cycle_start="2026-01-31T00:00:00Z", ends_at="2100-01-01T00:00:00Z")
    assert (made.changed, made.cycle_start) == (True, "2026-01-31T00:00:00Z")
    assert client.upsert_subscription(user, small).changed is False
    cleared = client.upsert_subscription(user, small, ends_at=None)
    assert (cleared.changed, cleared.ends_at, cleared.cycle_start) == (True, None, "2026-01-31T00:00:00Z")
    own = client.upsert_subscription(user, small, custom_limits={one["id"]: {"quota": 99}}, reset_usage=True)
    assert own.custom_limits == {one["id"]: {"quota": 99}}
    usage = client.usage(user)
    assert {counter.group_id: counter.quota for counter in usage.counters} == {one["id"]: 99, two["id"]: 20}
    assert [counter.group_id for counter in client.usage(user, "audio.speak").counters] == [two["id"]]
    assert small in [each.id for each in client.available_plans()]
    assert client.cancel_subscription(user).ends_at is not None
    with pytest.raises(QuotagateError) as over:
        client.cancel_subscription(user)
    assert over.value.code in ("already_canceled", "not_found")
    with pytest.raises(QuotagateError) as missing:
        client.upsert_subscription(user, "no_such_plan")
    assert missing.value.status in (400, 404)


def test_watching_usage(sandbox: Sandbox, client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(10, event="image.*"))
    stream = client.watch_usage(user)
    assert next(stream).counters[0].used == 0
    for used in (2, 5):
        client.track(user, "image.render", used - (2 if used == 5 else 0))
        assert next(stream).counters[0].used == used
    stream.close()
    with sandbox.client(api_key="sk_test_unknown0123456789") as unknown, pytest.raises(QuotagateError) as refused:
        next(unknown.watch_usage(user))
    assert refused.value.code == "invalid_key"


def test_a_lost_usage_stream_is_opened_again(sandbox: Sandbox, client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(10))
    fates = ["cut_before", "unavailable", "relay_one", "garbage", "relay_one", "relay"]
    with (
        Proxy(sandbox.gateway.url, lambda line, request: fates.pop(0)) as proxy,
        sandbox.client(base_url=proxy.url) as watcher,
    ):
        stream = watcher.watch_usage(user)
        assert next(stream).counters[0].used == 0
        client.track(user, "image.render", 3)
        # The third connection sends 3, the fourth the same again, which is no change.
        assert next(stream).counters[0].used == 3
        client.track(user, "image.render", 4)
        assert next(stream).counters[0].used == 7
        stream.close()
        assert fates == [] or proxy.met["relay"] == 0


@pytest.mark.anyio
async def test_asynchronously(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(10))
    async with sandbox.async_client() as client:
        stream = client.watch_usage(user)
        assert (await stream.__anext__()).counters[0].used == 0
        waiting = asyncio.ensure_future(stream.__anext__())
        decision = await client.reserve(user, "image.render", 2)
        assert (await waiting).counters[0].held == 2
        await stream.aclose()
        assert (await client.extend(decision, quantity=1)).counters[0].held == 3
        assert (await client.release(decision.reservation_id)).status == "released"
        assert (await client.release(decision)).replayed
        assert (await client.track(user, "image.render", 4)).counted
        refused = await client.track(user, "image.render", 40, enforce=True)
        assert not refused.counted
        assert (await client.can_use(user, "image.render", 6)).allowed
        assert not await client.can(user, "image.render", 7)
        assert len(await client.available_plans()) > 0
        await client.cancel_subscription(user)
        assert (await client.usage(user)).plan_id is None
