"""Events, reports, explanations and drafts; and a method for every call of the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import pytest

from quotagate import Client, QuotagateError
from tests.gateway import Sandbox, group, plan, unique
from tests.proxy import Proxy
from tests.waiting import eventually

Subscribed = Callable[..., str]


def test_events_reports_and_limits(sandbox: Sandbox, client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(4, event="image.*"))
    r = client.reserve(user, "image.render", 3, {"team": "red"})
    client.commit(r)
    assert client.outcome(r, "accepted").outcome == "accepted"
    assert not client.reserve(user, "image.render", 2, {"team": "blue"}).allowed
    with sandbox.operator() as operator:
        admin = operator.admin
        found = list(admin.events(user_id=user, types=["commit", "denial"], metadata={"team": "red"}))
        assert [(event.type, event.user_id) for event in found] == [("commit", user)]
        every = [event.type for event in admin.events(user_id=user, oldest_first=True)]
        assert every == ["commit", "outcome", "denial"]
        assert not list(admin.events(user_id=user, late=True))
        (line,) = admin.report(by=["user", "event"], metadata={"team": "red"})
        assert (line.by["user"], line.calls, line.accepted) == (user, 1, 1)
        (line,) = admin.report(by=["user"], ratio=["accepted/calls", "denials/calls"], top="calls", limit=1)
        assert line.ratios == {"accepted/calls": 1, "denials/calls": 1}
        assert [(counter.scope, counter.used) for counter in admin.limits(limit=5).near] == [({"user": user}, 3)]
        assert admin.unusual(by=["group"], days=7).data == ()
        assert [counter.used for counter in admin.forecast(user).data] == [3]
        assert [(window.used, window.final) for window in admin.history(user)] == [(3, False)]
        # A node is silent if it has not reported for 15 seconds, which a slow machine may cause.
        eventually("a node that is not silent", lambda: any(not node.silent for node in admin.nodes()))
        assert f"test/{sandbox.name}" in [each.mode for each in admin.sandboxes()]


def test_learned_estimates(client: Client, subscribed: Subscribed) -> None:
    event = f"llm.{unique('chat_')}"
    estimate = {"quantile": 0.95, "by": ["model"], "start": 4000, "max": 16000}
    measure = {"per": {"completion_tokens": 1}, "estimate": {"completion_tokens": estimate}}
    user = subscribed(group(None, event=event, unit="tokens", measure=measure))
    r = client.reserve(user, event, 1, {"model": "large"})
    client.commit(r, metadata={"completion_tokens": 5000})
    client.track(user, event, 1, {"model": "small", "completion_tokens": 10})
    large, small = client.estimates.list(event)
    assert (large.by, large.value, large.learned, large.samples) == ({"model": "large"}, 4000, False, 1)
    assert (large.compared, large.exceeded, small.compared, small.exceeded) == (1, 1, 0, 0)
    assert list(client.estimates.list(f"{event}.other")) == []


def test_followed_events(sandbox: Sandbox, client: Client, subscribed: Subscribed) -> None:
    user = subscribed(group(4, event="image.*"))
    client.track(user, "image.render")
    client.track(user, "image.render", 2)
    # The first connection ends after its first event.
    fates = ["relay_one", "unavailable", "relay"]
    with (
        Proxy(sandbox.gateway.url, lambda line, request: fates.pop(0)) as proxy,
        sandbox.operator(base_url=proxy.url) as follower,
        sandbox.operator() as operator,
    ):
        known = [event.id for event in operator.admin.events(user_id=user, oldest_first=True)]
        stream = follower.admin.follow_events(user_id=user, types=["track", "denial"], after=known[0])
        assert next(stream).id == known[1]
        assert not client.reserve(user, "image.render", 3).allowed
        denial = next(stream)
        assert (denial.type, denial.reason) == ("denial", "limit_reached")
        stream.close()
        assert fates == []


def test_explanations_and_drafts(sandbox: Sandbox, client: Client, subscribed: Subscribed) -> None:
    one = group(4, event="image.*")
    user = subscribed(one)
    r = client.reserve(user, "image.render", 3)
    client.commit(r)
    with sandbox.operator() as operator:
        admin = operator.admin
        explained = admin.explain(user, "image.render", 2, {"team": "red"}).call
        assert explained is not None
        assert (explained.allowed, explained.reasons, explained.metadata) == (
            False,
            ("limit_reached",),
            {"team": "red"},
        )
        story = admin.explain_reservation(r.reservation_id or "").reservation
        assert story is not None
        assert story.status == "committed"
        name = admin.user(user).plan_id
        draft = {"id": name, **plan({**one, "quota": 2})}
        assert not any(each.matches for each in admin.explain_draft({"plan": draft, "event": "video.a"}).groups)
        assert admin.whatif({"plan": draft, "entries": 1000}).newly_denied.calls == 1
        assert admin.get_plan(name or "").groups[0].quota == 4


def test_previews(sandbox: Sandbox, client: Client, subscribed: Subscribed) -> None:
    one = group(4, event="image.*")
    user, other = subscribed(one), unique("p_")
    r = client.reserve(user, "image.render", 3)
    with sandbox.operator() as operator:
        admin = operator.admin
        admin.put_plan(other, plan({**one, "quota": 9, "onPlanChange": "reset"}))
        move = admin.preview_subscription({"userId": user, "planId": other})
        assert [(counter.effect, counter.quota, counter.used) for counter in move.counters] == [("reset", 9, 0)]
        present = admin.user(user).plan_id or ""
        gone = admin.preview_delete_plan(present)
        assert [(on.mode, on.users) for on in gone.users] == [(f"test/{sandbox.name}", 1)]
        assert gone.refusal is not None
        assert admin.preview_delete_plan(present, move_to=other).refusal is None
        assert admin.get_plan(present).id == present
        policy, team = (
            unique("cap_"),
            group(3, event="other", measure="event", scope=["metadata.team"], periodType="monthly"),
        )
        admin.put_policy(policy, {"groups": [team]})
        assert [left.group_id for left in admin.preview_delete_policy(policy).groups] == [team["id"]]
        admin.delete_policy(policy)
        released = admin.release_reservation(r.reservation_id or "", reason="worker is gone")
        assert released.status == "released"
    with pytest.raises(QuotagateError) as error:
        client.commit(r)
    assert error.value.code == "reservation_not_pending"


METHODS = {
    "alerts.list": "admin.alerts",
    "app.get": "admin.settings",
    "app.put": "admin.put_settings",
    "approvals.list": "admin.approvals",
    "approvals.get": "admin.get_approval",
    "approvals.approve": "admin.approve",
    "approvals.reject": "admin.reject",
    "approvals.reopen": "admin.reopen",
    "apps.list": "admin.apps",
    "apps.create": "admin.create_app",
    "apps.delete": "admin.delete_app",
    "configuration.list": "admin.audit",
    "configuration.get": "admin.configuration",
    "configuration.put": "admin.apply_configuration",
    "counters.list": "admin.counters",
    "credits.list": "credits.list",
    "credits.create": "credits.create",
    "credits.void": "credits.void",
    "events.list": "admin.events",
    "events.stream": "admin.follow_events",
    "grants.list": "admin.grants",
    "grants.create": "admin.create_grant",
    "grants.delete": "admin.delete_grant",
    "health.healthz": None,
    "health.metrics": None,
    "health.readyz": None,
    "keys.list": "admin.keys",
    "keys.create": "admin.create_key",
    "keys.delete": "admin.delete_key",
    "limits.list": "limits.list",
    "limits.put": "limits.put",
    "limits.delete": "limits.delete",
    "metering.batch": "batch",
    "metering.can_use": "can_use",
    "metering.commit": "commit",
    "metering.extend": "extend",
    "metering.outcome": "outcome",
    "metering.release": "release",
    "metering.reserve": "reserve",
    "metering.track": "track",
    "nodes.list": "admin.nodes",
    "plans.list": "available_plans",
    "plans.get": "admin.get_plan",
    "plans.put": "admin.put_plan",
    "plans.delete": "admin.delete_plan",
    "plans.rollback": "admin.rollback_plan",
    "plans.versions": "admin.plan_versions",
    "policies.list": "admin.policies",
    "policies.get": "admin.get_policy",
    "policies.put": "admin.put_policy",
    "policies.delete": "admin.delete_policy",
    "policies.review": "admin.review_policy",
    "policies.rollback": "admin.rollback_policy",
    "policies.versions": "admin.policy_versions",
    "reports.estimates": "estimates.list",
    "reports.forecast": "admin.forecast",
    "reports.limits": "admin.limits",
    "reports.unusual": "admin.unusual",
    "reports.usage": "admin.report",
    "session.create": None,
    "session.delete": None,
    "session.get": None,
    "subscriptions.cancel": "cancel_subscription",
    "subscriptions.subscribe": "upsert_subscription",
    "test-clock.delete": "admin.empty_sandbox",
    "test-clock.get": "admin.test_clock",
    "test-clock.put": "admin.set_test_clock",
    "test-clock.sandboxes": "admin.sandboxes",
    "usage.explain": "admin.explain",
    "usage.explain_draft": "admin.explain_draft",
    "usage.get_usage": "usage",
    "usage.history": "admin.history",
    "usage.stream_usage": "watch_usage",
    "users.block": "admin.block_user",
    "users.get": "admin.user",
    "users.list": "admin.users",
    "users.put": "admin.put_user",
    "users.release_reservation": "admin.release_reservation",
    "users.reset": "admin.reset_user",
    "users.unblock": "admin.unblock_user",
    "webhooks.delete": "admin.delete_webhook",
    "webhooks.deliveries": "admin.webhook_deliveries",
    "webhooks.get": "admin.get_webhook",
    "webhooks.list": "admin.webhooks",
    "webhooks.put": "admin.put_webhook",
    "webhooks.resend": "admin.resend_delivery",
    "webhooks.rotate_secret": "admin.rotate_webhook_secret",
    "what-if.whatif": "admin.whatif",
}
"""The method of each operation; None for the calls that the README excludes."""


def test_every_call_of_the_api_has_a_method_or_is_excluded_by_name(client: Client) -> None:
    document = json.loads((Path(__file__).parents[3] / "docs/openapi.json").read_text())
    calls = [call for path in document["paths"].values() for call in path.values() if isinstance(call, dict)]
    assert set(METHODS) == {call["operationId"] for call in calls if "operationId" in call}
    for name in filter(None, METHODS.values()):
        assert callable(attrgetter(name)(client)), name
