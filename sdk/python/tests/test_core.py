from __future__ import annotations

from collections.abc import Callable

import pytest

from quotagate import Client, LimitReached, QuotagateError
from tests.gateway import Sandbox, group

Subscribed = Callable[..., str]


def test_reserve_commit_release(client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(3))
    first = client.reserve(user, "image.render")
    assert first.allowed
    assert first.matched
    assert not first.degraded
    assert first.counters[0].held == 1
    assert client.commit(first.reservation_id).status == "committed"
    second = client.reserve(user, "image.render", 2)
    assert client.release(second).status == "released"
    denied = client.reserve(user, "image.render", 3)
    assert not denied.allowed
    assert denied.reasons == ("limit_reached",)
    assert denied.denied_by[0].remaining == 2
    counter = client.usage(user).counters[0]
    assert (counter.used, counter.held, counter.remaining, counter.quota) == (1, 0, 2, 3)
    assert client.can(user, "image.render", 2)
    assert not client.can(user, "image.render", 3)


@pytest.mark.anyio
async def test_reserve_commit_release_asynchronously(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(3))
    async with sandbox.async_client(throw_on_deny=True) as client:
        decision = await client.reserve(user, "image.render", 2)
        settled = await client.commit(decision, quantity=1)
        assert (settled.status, settled.counters[0].used) == ("committed", 1)
        with pytest.raises(LimitReached) as denied:
            await client.reserve(user, "image.render", 3)
        assert denied.value.decision.denied_by[0].requested == 3
        assert (denied.value.status, denied.value.code) == (429, "limit_reached")
        with pytest.raises(QuotagateError) as missing:
            await client.commit("rsv_unknown")
        assert (missing.value.status, missing.value.code) == (404, "not_found")
