"""The calls for operators."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quotagate import Client, QuotagateError, user_token
from tests.gateway import ADMIN_KEY, PATIENT, Gateway, Sandbox, group, plan, unique

Subscribed = Callable[..., str]


def refused(code: str, call: Callable[[], object]) -> QuotagateError:
    with pytest.raises(QuotagateError) as error:
        call()
    assert error.value.code == code
    return error.value


def test_plans(gateway: Gateway) -> None:
    admin = gateway.admin.admin
    name = unique("p_")
    one = group(20)
    first = admin.put_plan(name, plan(one, name="First"))
    assert (first.id, first.name, first.groups[0].quota) == (name, "First", 20)
    assert admin.get_plan(name) == first
    assert name in [each.id for each in gateway.admin.available_plans()]
    changed = {**first.to_json(), "name": "Second"}
    changed.pop("version")
    preview = admin.preview_plan(name, changed)
    assert [difference.after for change in preview.changes for difference in change.fields] == ["Second"]
    second = admin.put_plan(name, changed, if_match=first.version)
    assert refused("version_conflict", lambda: admin.put_plan(name, changed, if_match=first.version)).status == 412
    assert [version.plan.name for version in admin.plan_versions(name)] == ["Second", "First"]
    back = admin.rollback_plan(name, first.version, if_match=second.version)
    assert back.name == "First"
    faulty = refused("invalid_request", lambda: admin.put_plan(name, plan({**one, "quota": -1})))
    assert [error.field for error in faulty.errors] == ["groups[0].quota"]
    admin.delete_plan(name, if_match=back.version)
    refused("not_found", lambda: admin.get_plan(name))


def test_keys(gateway: Gateway, sandbox: Sandbox, subscribed: Subscribed) -> None:
    admin = gateway.admin.admin
    user = subscribed(group(5))
    made = admin.create_key(
        "publishable",
        mode="test",
        sandbox=sandbox.name,
        name="browser",
        origins=["https://example.com"],
        require_user_token=True,
    )
    assert made.key is not None
    assert made.key.startswith("pk_test_")
    assert made.user_token_secret is not None
    token = user_token(made.user_token_secret, user)
    with sandbox.client(api_key=made.key) as browser:
        refused("forbidden_key", lambda: browser.usage(user))
        refused("forbidden_key", lambda: browser.reserve(user, "image.render"))
    with sandbox.client(api_key=made.key, user_token=token) as browser:
        assert browser.usage(user).counters[0].quota == 5
        assert next(browser.watch_usage(user)).user_id == user
    (listed,) = [key for key in list(admin.keys()) if key.id == made.id]
    assert (listed.prefix, listed.key, listed.name) == (made.prefix, None, "browser")
    admin.delete_key(made.id)
    assert made.id not in [key.id for key in list(admin.keys())]


def test_apps(gateway: Gateway) -> None:
    name = unique("app-")
    admin = gateway.admin.admin
    assert admin.create_app(name).placement == "app"
    assert name in [app.id for app in admin.apps()]
    with Client(api_key=ADMIN_KEY, base_url=gateway.url, app=name, **PATIENT) as other:
        assert other.available_plans() == ()
        other.admin.put_plan("free", plan(group(1)))
        assert other.admin.put_settings(default_plan_id="free").default_plan_id == "free"
        assert other.admin.settings().default_plan_id == "free"
        configuration = other.admin.configuration().to_json()
        assert [each["id"] for each in configuration["plans"]] == ["free"]
        configuration["plans"][0]["name"] = "Free"
        dry = other.admin.apply_configuration(configuration, dry_run=True)
        assert (dry.applied, [change.target for change in dry.changes]) == (False, ["plan:free"])
        assert other.admin.apply_configuration(configuration).applied
        assert other.admin.get_plan("free").name == "Free"
        present, revision = other.admin.configuration_with_revision()
        assert [each.id for each in present.plans or ()] == ["free"]
        smaller = {"plans": [{"id": "pro", **plan(group(2))}]}
        dry = other.admin.apply_configuration(smaller, dry_run=True, prune=False, if_match=revision)
        assert (dry.revision, dry.unlisted) == (revision, ("plan:free",))
        kept = other.admin.apply_configuration(smaller, prune=False, if_match=dry.revision)
        assert (kept.applied, kept.unlisted) == (True, ("plan:free",))
        stale = refused("version_conflict", lambda: other.admin.apply_configuration(smaller, if_match=revision))
        assert stale.status == 412
        assert [each.id for each in other.available_plans()] == ["free", "pro"]
        assert "plan:free" in {change.target for change in other.admin.audit()}
    admin.delete_app(name)
    assert name not in [app.id for app in admin.apps()]


def test_users(sandbox: Sandbox, subscribed: Subscribed) -> None:
    one = group(5)
    user = subscribed(one)
    strange = "u/ä ?#%2F" + unique("")
    with sandbox.operator() as operator, sandbox.client() as client:
        admin = operator.admin
        named = admin.put_user(user, name="Ada Lovelace", tags=["vip"])
        assert (named.name, list(named.tags)) == ("Ada Lovelace", ["vip"])
        for text in ("LOVELACE", "vip"):
            assert [each.user_id for each in admin.users(contains=text)] == [user]
        assert admin.block_user(user, note="chargeback").blocked
        assert client.reserve(user, "image.render").reasons == ("user_blocked",)
        assert not admin.unblock_user(user).blocked
        client.track(user, "image.render", 5)
        assert not client.can(user, "image.render")
        grant = admin.create_grant(one["id"], user, 3, note="sorry")
        assert [each.amount for each in admin.grants(user)] == [3]
        assert client.can(user, "image.render", 3)
        admin.delete_grant(grant.id)
        assert not client.can(user, "image.render")
        assert admin.reset_user(user, group_id=one["id"]).changed
        assert client.can(user, "image.render", 5)
        decision = client.reserve(user, "image.render")
        detail = admin.user(user)
        assert [each.reservation_id for each in detail.open_reservations] == [decision.reservation_id]
        client.upsert_subscription(strange, detail.plan_id or "")
        assert admin.user(strange).user_id == strange
        assert [each.user_id for each in admin.users("u/")] == [strange]
        assert {change.action for change in admin.audit(target=f"user:{user}")} != set()


def test_lists_are_read_page_by_page(sandbox: Sandbox, gateway: Gateway) -> None:
    gateway.admin.admin.put_plan(name := unique("p_"), plan(group(5)))
    with sandbox.client() as client, sandbox.operator() as operator:
        for number in range(120):
            client.upsert_subscription(f"user_{number:03}", name)
        listed = [user.user_id for user in operator.admin.users("user_")]
    assert listed == [f"user_{number:03}" for number in range(120)]


def test_the_clock_moves_windows(sandbox: Sandbox, gateway: Gateway) -> None:
    gateway.admin.admin.put_plan(name := unique("p_"), plan(group(2), periodAnchor="subscription_start"))
    with sandbox.operator() as operator, sandbox.client() as client:
        admin = operator.admin
        assert admin.test_clock().now is None
        admin.set_test_clock("2026-01-31T10:00:00Z")
        client.upsert_subscription("u", name)
        with client.reservation("u", "image.render", 2):
            pass
        denied = client.reserve("u", "image.render")
        assert denied.retry_after_ms == 28 * 86_400_000
        assert client.can_use("u", "image.render").details[0].resets_at == "2026-02-28T10:00:00Z"
        admin.set_test_clock("2026-02-28T10:00:00Z")
        assert client.reserve("u", "image.render").allowed
        # The hold expires with the test clock, too. There is nothing to release, which is no error.
        late = client.reserve("u", "image.render")
        admin.set_test_clock("2026-02-28T10:20:00Z")
        assert client.release(late).status == "expired"
        refused("reservation_expired", lambda: client.commit(late))
        admin.empty_sandbox()
        assert client.usage("u").plan_id is None


@pytest.mark.anyio
async def test_asynchronously(gateway: Gateway, sandbox: Sandbox) -> None:
    async with sandbox.async_client(api_key=ADMIN_KEY, mode=f"test/{sandbox.name}") as operator:
        admin = operator.admin
        name = unique("p_")
        await admin.put_plan(name, plan(group(5)))
        await operator.upsert_subscription("u_1", name)
        assert [user.user_id async for user in admin.users()] == ["u_1"]
        assert (await admin.user("u_1")).plan_id == name
        assert [version.plan.id or name async for version in admin.plan_versions(name)] == [name]
        key = await admin.create_key("secret", mode="test", sandbox=sandbox.name)
        await admin.delete_key(key.id)
        await admin.set_test_clock("2030-01-01T00:00:00Z")
        assert (await admin.test_clock()).now == "2030-01-01T00:00:00Z"
        await admin.empty_sandbox()
