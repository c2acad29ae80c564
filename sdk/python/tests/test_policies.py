"""Policies, credits, approvals, alerts and webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from quotagate import QuotagateError, rate_limit_headers
from tests.gateway import Gateway, Sandbox, group, unique
from tests.waiting import eventually

Subscribed = Callable[..., str]


@pytest.fixture
def sandbox(gateway: Gateway) -> Iterator[Sandbox]:
    """An app for one test, since a policy applies to every user of its app."""
    name = unique("app-")
    gateway.admin.admin.create_app(name)
    yield Sandbox(gateway, name)
    gateway.admin.admin.delete_app(name)


def test_credits(sandbox: Sandbox, subscribed: Subscribed) -> None:
    packs = unique("b_")
    balance = {"id": packs, "kind": "balance", "unit": "count", "matches": []}
    images = group(2, event="image.*", overflow=packs)
    user, event = subscribed(images, balance), "image.render"
    with sandbox.client() as client, sandbox.operator() as operator:
        credit = client.credits.create(packs, user, 5, source_id="pay_1", note="pack of 5")
        assert (credit.amount, credit.remaining, credit.status, credit.source_id) == (5, 5, "live", "pay_1")
        assert client.credits.create(packs, user, 5, source_id="pay_1").id == credit.id
        decision = client.reserve(user, event, 4)
        assert [(each.group_id, each.from_, each.amount) for each in decision.overflow] == [(packs, images["id"], 2)]
        assert [each.overflow for each in decision.counters] == [packs, None]
        assert rate_limit_headers(decision)["X-RateLimit-Remaining"] == "3"
        client.commit(decision)
        assert client.credits.void(credit.id, 1).remaining == 2
        second = operator.credits.create(packs, {"user": user}, "4", expires_at="2099-01-01T00:00:00Z")
        listed = list(client.credits.list(packs, user))
        assert [(each.id, each.used) for each in listed] == [(second.id, 0), (credit.id, 2)]
        voided = operator.credits.void(second.id, note="chargeback")
        assert (voided.voided, voided.status) == (4, "voided")
        assert client.can(user, event, 2)
        assert not client.can(user, event, 3)


def test_policies(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user, event, policy = subscribed(group(None)), "image.render", "team_budget"
    team = group(5, event=event, scope=["metadata.team"], periodType="monthly")
    body = {"owner": "ops@example.com", "reviewCadence": "monthly", "groups": [team]}
    with sandbox.operator() as operator:
        admin = operator.admin
        assert len(admin.preview_policy(policy, body).changes) == 1
        first = admin.put_policy(policy, body)
        assert (first.id, first.owner) == (policy, "ops@example.com")
        assert admin.get_policy(policy).version == first.version
        assert policy in [each.id for each in admin.policies()]
        with sandbox.client() as client:
            assert client.reserve(user, event).reasons == ("missing_scope",)
            with client.reservation(user, event, 4, {"team": "red"}):
                pass
            assert not client.can(user, event, 2, {"team": "red"})
            assert client.can(user, event, 2, {"team": "blue"})
            admin.create_grant(team["id"], {"metadata.team": "red"}, 3)
            assert client.can(user, event, 4, {"team": "red"})
            assert [(each.scope, each.used) for each in admin.counters(team["id"])] == [({"metadata.team": "red"}, 4)]
            red = {"metadata.team": "red"}
            limit = client.limits.put(team["id"], red, 4, until="2099-01-01T00:00:00Z", note="trial")
            assert (limit.scope, limit.quota, limit.note) == (red, 4, "trial")
            assert [each.quota for each in client.limits.list(team["id"])] == [4]
            assert not client.can(user, event, 4, {"team": "red"})
            client.limits.delete(team["id"], red)
            assert client.can(user, event, 4, {"team": "red"})
            assert list(client.limits.list(team["id"])) == []
        second = admin.put_policy(policy, {**body, "notes": "changed"}, if_match=first.version)
        assert [each.policy.notes for each in admin.policy_versions(policy)] == ["changed", None]
        assert admin.rollback_policy(policy, first.version, if_match=second.version).notes is None
        reviewed = admin.review_policy(policy, note="still right").reviewed
        assert reviewed is not None
        assert reviewed.note == "still right"


def test_approvals(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user, event = subscribed(group(None)), "image.render"
    limit = group(2, event=event, enforcement="approval", periodType="monthly")
    with sandbox.client() as client, sandbox.operator() as operator:
        admin = operator.admin
        admin.put_policy("launch", {"groups": [limit]})
        denied = client.reserve(user, event, 5)
        assert denied.reasons == ("approval_required",)
        opened = denied.denied_by[0].approval
        assert opened is not None
        (request,) = [each for each in admin.approvals() if each.id == opened.id]
        assert (request.status, request.requested, request.requested_by) == ("open", 5, user)
        assert admin.reject(request.id, note="no").status == "rejected"
        assert request.id in [each.id for each in admin.approvals("decided")]
        assert admin.reopen(request.id).status == "open"
        grant = admin.approve(request.id, 10, note="launch", rollback_owner="ops@example.com")
        assert (grant.amount, grant.approval_id) == (10, request.id)
        assert admin.get_approval(request.id).status == "approved"
        assert client.reserve(user, event, 5).allowed


def test_webhooks_and_alerts(sandbox: Sandbox, subscribed: Subscribed) -> None:
    limit = group(10, alerts=[50])
    user, name = subscribed(limit), unique("hook_")
    with sandbox.client() as client, sandbox.operator() as operator:
        admin = operator.admin
        made = admin.put_webhook(name, "https://example.com/hook", ["limit.reached"], filter={"groupIds": ["none"]})
        assert made.secret is not None
        assert admin.get_webhook(name).secret is None
        assert admin.rotate_webhook_secret(name).secret not in (None, made.secret)
        assert name in [each.id for each in admin.webhooks()]
        assert list(admin.webhook_deliveries(name, "dead")) == []
        with pytest.raises(QuotagateError) as missing:
            admin.resend_delivery(name, "dlv_none")
        assert missing.value.status in (400, 404)
        settled = client.commit(client.reserve(user, "image.render", 6))
        assert [(each.group_id, each.percent) for each in settled.thresholds] == [(limit["id"], 50)]
        admin.delete_webhook(name)
        eventually(
            "the alert to be in the history",
            lambda: any(alert.type == "threshold.reached" for alert in admin.alerts()),
        )
