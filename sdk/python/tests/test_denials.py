"""Denials as errors: one class for each reason."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, get_args

import pytest

from quotagate import (
    ApprovalRequired,
    CallTooLarge,
    Client,
    Denied,
    GatewayUnavailable,
    LimitReached,
    MissingScope,
    NotSubscribed,
    UncoveredEvent,
    UnmatchedEvent,
    UserBlocked,
)
from quotagate.errors import BY_REASON, denial
from quotagate.models import Reason
from tests.gateway import Sandbox, group
from tests.proxy import Proxy, always

Subscribed = Callable[..., str]

PRICED = {"event": "llm.*", "metadata": {"model": "small"}}
GROUPS = {
    "image": group(2, event="image.*", label="Images", onLimit={"message": "No more images"}),
    "audio": group(10, event="audio.*", label="Audio", maxPerCall=3),
    "llm": {**group(100, unit="tokens", label="Tokens"), "matches": [PRICED], "covers": ["llm.*"]},
    "team": group(10, event="team.*", label="Teams", scope=["user", "metadata.team"]),
    "video": group(1, event="video.*", label="Videos", enforcement="approval"),
}

CASES: list[tuple[type[Denied], str, int, str]] = [
    (NotSubscribed, "image.render", 1, "The user has no subscription"),
    (UserBlocked, "image.render", 1, "The user is blocked"),
    (UnmatchedEvent, "imagine", 1, "No limit of the plan matches the event"),
    (UncoveredEvent, "llm.chat", 1, "No match rule for the event in: Tokens"),
    (MissingScope, "team.call", 1, "Missing in the call: metadata.team"),
    (CallTooLarge, "audio.speak", 5, "Too large for one call: Audio (5 requested)"),
    (LimitReached, "image.render", 3, "Limit reached: Images (3 requested, 2 left)"),
    (ApprovalRequired, "video.render", 2, "Approval required: Videos (2 requested, 1 left)"),
]


for_each_case = pytest.mark.parametrize(
    ("kind", "event", "quantity", "message"), CASES, ids=[kind.__name__ for kind, *_ in CASES]
)


def test_every_reason_has_a_class_and_a_case() -> None:
    assert set(BY_REASON) == set(get_args(Reason))
    assert {kind for kind, *_ in CASES} == set(BY_REASON.values())
    assert len(set(BY_REASON.values())) == len(BY_REASON)


@pytest.fixture
def user_for(sandbox: Sandbox, subscribed: Subscribed) -> Callable[[type[Denied]], str]:
    """The id of a user in the state that leads to the error."""

    def make(kind: type[Denied]) -> str:
        if kind is NotSubscribed:
            return "u_unknown"
        user = subscribed(*GROUPS.values())
        if kind is UserBlocked:
            with sandbox.operator() as operator:
                operator.admin.block_user(user)
        return user

    return make


@pytest.mark.parametrize(
    ("kind", "event", "quantity", "message"), CASES, ids=lambda case: getattr(case, "__name__", "")
)
def test_a_denial_raises_the_class_of_its_reason(
    sandbox: Sandbox, user_for: Any, kind: type[Denied], event: str, quantity: int, message: str
) -> None:
    user = user_for(kind)
    with sandbox.client(throw_on_deny=True) as client:
        calls: list[Callable[[], object]] = [
            lambda: client.reserve(user, event, quantity),
            lambda: client.track(user, event, quantity, enforce=True),
            lambda: client.reservation(user, event, quantity).__enter__(),
        ]
        for call in calls:
            with pytest.raises(Denied) as denied:
                call()

            error = denied.value
            assert (type(error), error.status) == (kind, 429)
            assert BY_REASON[error.code] is kind
            assert error.decision.reasons == (error.code,)
            assert error.message == message


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "event", "quantity", "message"), CASES, ids=lambda case: getattr(case, "__name__", "")
)
async def test_the_asynchronous_client_raises_the_same(
    sandbox: Sandbox, user_for: Any, kind: type[Denied], event: str, quantity: int, message: str
) -> None:
    user = user_for(kind)
    async with sandbox.async_client() as client:
        with pytest.raises(Denied) as denied:
            async with client.reservation(user, event, quantity):
                raise AssertionError("the block must not run")

    assert (type(denied.value), denied.value.message) == (kind, message)


def denied_by(client: Client, user: str, event: str, quantity: int = 100) -> Denied:
    with pytest.raises(Denied) as denied, client.reservation(user, event, quantity):
        pass
    return denied.value


def test_limit_reached_knows_when_the_last_limit_resets(client: Client, subscribed: Subscribed) -> None:
    daily = group(5, event="image.*", periodType="daily")
    monthly = group(5, event="image.*")
    lifetime = group(5, event="image.render", periodType="lifetime")
    user = subscribed(daily, monthly, lifetime)
    resets = {counter.group_id: counter.resets_at for counter in client.usage(user).counters}
    client.track(user, "image.render")

    both = denied_by(client, user, "image.show", 5)
    never = denied_by(client, user, "image.render", 5)

    assert isinstance(both, LimitReached)
    assert isinstance(never, LimitReached)
    assert resets[daily["id"]] is not None
    assert both.resets_at == resets[monthly["id"]]
    assert both.retry_after_ms is not None
    assert (never.resets_at, never.retry_after_ms) == (None, None)


def test_denials_have_what_the_plan_returns(client: Client, subscribed: Subscribed) -> None:
    fallback = {"event": "image.b", "metadata": {"size": "1k"}}
    on_limit = {"message": "Used up", "upgradeUrl": "https://example.com", "fallback": fallback}
    user = subscribed(group(0, event="image.a", onLimit=on_limit), group(1, event="image.b"), *GROUPS.values())

    image = denied_by(client, user, "image.a", 1)
    team = denied_by(client, user, "team.call")
    video = denied_by(client, user, "video.render")

    assert image.on_limit is not None
    assert (image.on_limit.message, image.on_limit.upgrade_url) == ("Used up", "https://example.com")
    assert image.fallback is not None
    assert client.reserve(user, image.fallback.event, 1, image.fallback.metadata).allowed
    assert isinstance(team, MissingScope)
    assert (team.missing, team.on_limit, team.fallback) == (("metadata.team",), None, None)
    assert isinstance(video, ApprovalRequired)
    assert [approval.status for approval in video.approvals] == ["open"]


def test_denials_can_be_pickled(client: Client, subscribed: Subscribed) -> None:
    denied = denied_by(client, subscribed(GROUPS["image"]), "image.render")

    copied = pickle.loads(pickle.dumps(denied))  # noqa: S301 - our own bytes

    assert (type(copied), str(copied), copied.decision) == (LimitReached, str(denied), denied.decision)


def test_an_unreachable_gateway_is_no_denial(sandbox: Sandbox) -> None:
    with (
        Proxy(sandbox.gateway.url, always("unavailable")) as proxy,
        sandbox.client(base_url=proxy.url, retries=0, throw_on_deny=True) as client,
    ):
        with pytest.raises(GatewayUnavailable):
            client.reserve("u_42", "image.render")
        with pytest.raises(GatewayUnavailable), client.reservation("u_42", "image.render"):
            raise AssertionError("the block must not run")
        with sandbox.client(base_url=proxy.url, retries=0) as patient:
            answer = patient.reserve("u_42", "image.render")

    assert (answer.allowed, answer.degraded, answer.reasons) == (False, True, ("gateway_unavailable",))
    assert isinstance(denial(answer), GatewayUnavailable)
