"""Every parameter, header and field that the API takes has an argument."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from quotagate import Client, QuotagateError
from quotagate.bodies import FitBody

Call = Callable[[Client], object]

FILTER: dict[str, Any] = {
    "types": ["denial"],
    "user_id": "x",
    "event": "x",
    "key_id": "x",
    "group_id": "x",
    "reservation_id": "x",
    "outcome": "accepted",
    "late": True,
    "reason": "x",
    "observed": True,
    "metadata": {"{name}": "x"},
}
NAMED = {"{name}": "x"}
FIT: FitBody = {"field": "x", "min": 1}
KEY: dict[str, Any] = {"idempotency_key": "given"}
MATCHED: dict[str, Any] = {"if_match": 1, **KEY}
TIME = "2026-01-01T00:00:00Z"

CALLS: dict[str, list[Call]] = {
    "app.put": [
        lambda c: c.admin.put_settings(
            default_plan_id="x",
            on_store_failure="deny",
            max_scope_values=1,
            report_labels=[],
            currency="USD",
            **KEY,
        )
    ],
    "approvals.list": [lambda c: next(c.admin.approvals("open"))],
    "approvals.approve": [lambda c: c.admin.approve("x", 1, until=TIME, note="x", rollback_owner="x", **KEY)],
    "approvals.reject": [lambda c: c.admin.reject("x", note="x", **KEY)],
    "approvals.reopen": [lambda c: c.admin.reopen("x", note="x", **KEY)],
    "apps.create": [lambda c: c.admin.create_app("x", placement="app", **KEY)],
    "configuration.list": [lambda c: next(c.admin.audit(actor="x", action="x", target="x"))],
    "configuration.put": [
        lambda c: c.admin.apply_configuration({}, dry_run=True, prune=False, **MATCHED),
    ],
    "counters.list": [lambda c: next(c.admin.counters("x"))],
    "credits.list": [lambda c: next(c.credits.list("x", "u", key_id="x", metadata=NAMED))],
    "credits.create": [
        lambda c: c.credits.create("x", "u", 1, expires_at=TIME, source_id="x", note="x", **KEY),
    ],
    "credits.void": [lambda c: c.credits.void("x", 1, note="x", **KEY)],
    "events.list": [lambda c: next(c.admin.events(**FILTER, start="x", end="x", oldest_first=True))],
    "events.stream": [lambda c: next(c.admin.follow_events(**FILTER, after="x"))],
    "grants.list": [lambda c: next(c.admin.grants("x"))],
    "grants.create": [lambda c: c.admin.create_grant("x", "u", 1, expires_at=TIME, note="x", **KEY)],
    "keys.create": [
        lambda c: c.admin.create_key(
            "secret",
            mode="test",
            sandbox="x",
            role="admin",
            name="x",
            metadata=NAMED,
            origins=["x"],
            require_user_token=True,
            **KEY,
        )
    ],
    "limits.list": [lambda c: next(c.limits.list("x"))],
    "limits.put": [lambda c: c.limits.put("x", "u", 1, until=TIME, note="x", **KEY)],
    "limits.delete": [lambda c: c.limits.delete("x", "u", **KEY)],
    "metering.batch": [lambda c: c.batch([{"op": "release", "reservationId": "x"}], **KEY)],
    "metering.can_use": [lambda c: c.can_use("x", "x", 1, NAMED, fit=FIT)],
    "metering.commit": [
        lambda c: c.commit(
            "x", quantity=1, metadata=NAMED, items=[{}], final=False, if_expired="reject", outcome="accepted", **KEY
        )
    ],
    "metering.extend": [lambda c: c.extend("x", ttl_seconds=1, quantity=1, **KEY)],
    "metering.outcome": [lambda c: c.outcome("x", "accepted", **KEY)],
    "metering.release": [lambda c: c.release("x", reason="x", error_code="x", **KEY)],
    "metering.reserve": [
        lambda c: c.reserve("x", "x", 1, NAMED, fit=FIT, **KEY),
        lambda c: c.reserve_items("x", [{"event": "x"}], **KEY),
    ],
    "metering.track": [lambda c: c.track("x", "x", 1, NAMED, enforce=True, **KEY)],
    "plans.put": [lambda c: c.admin.put_plan("x", {}, **MATCHED), lambda c: c.admin.preview_plan("x", {}, if_match=1)],
    "plans.delete": [
        lambda c: c.admin.delete_plan("x", move_to="y", if_match=1),
        lambda c: c.admin.preview_delete_plan("x", move_to="y", if_match=1),
    ],
    "plans.rollback": [lambda c: c.admin.rollback_plan("x", 1, **MATCHED)],
    "policies.put": [
        lambda c: c.admin.put_policy("x", {}, **MATCHED),
        lambda c: c.admin.preview_policy("x", {}, if_match=1),
    ],
    "policies.delete": [
        lambda c: c.admin.delete_policy("x", if_match=1),
        lambda c: c.admin.preview_delete_policy("x", if_match=1),
    ],
    "policies.review": [lambda c: c.admin.review_policy("x", note="x", **KEY)],
    "policies.rollback": [lambda c: c.admin.rollback_policy("x", 1, **MATCHED)],
    "reports.estimates": [lambda c: next(c.estimates.list("x"))],
    "reports.forecast": [lambda c: c.admin.forecast("x")],
    "reports.limits": [lambda c: c.admin.limits(limit=1)],
    "reports.unusual": [lambda c: c.admin.unusual(at="x", days=1, by=["user"])],
    "reports.usage": [
        lambda c: next(
            c.admin.report(
                start="x",
                end="x",
                period="day",
                by=["user"],
                event="x",
                user_id="x",
                key_id="x",
                group_id="x",
                metadata=NAMED,
                ratio=["a/b", "b/a"],
                top="calls",
                limit=1,
            )
        )
    ],
    "subscriptions.cancel": [lambda c: c.cancel_subscription("x", ends_at=TIME, note="x", **KEY)],
    "subscriptions.subscribe": [
        lambda c: c.upsert_subscription(
            "x",
            "y",
            started_at=TIME,
            cycle_start=TIME,
            ends_at=TIME,
            custom_limits={},
            reset_usage=True,
            note="x",
            **KEY,
        ),
        lambda c: c.admin.preview_subscription({"userId": "x", "planId": "y"}),
    ],
    "test-clock.put": [lambda c: c.admin.set_test_clock(TIME)],
    "usage.explain": [
        lambda c: c.admin.explain("x", "x", 1, NAMED, key_id="x"),
        lambda c: c.admin.explain_reservation("x"),
    ],
    "usage.get_usage": [lambda c: c.usage("x", "x", key_id="x", metadata=NAMED)],
    "usage.history": [
        lambda c: next(c.admin.history("x", group_id="x", start="x", end="x", key_id="x", metadata=NAMED))
    ],
    "usage.stream_usage": [lambda c: next(c.watch_usage("x", "x"))],
    "users.list": [lambda c: next(c.admin.users("x", contains="x"))],
    "users.put": [lambda c: c.admin.put_user("x", name="x", tags=["x"], **KEY)],
    "users.block": [lambda c: c.admin.block_user("x", note="x", **KEY)],
    "users.unblock": [lambda c: c.admin.unblock_user("x", note="x", **KEY)],
    "users.reset": [lambda c: c.admin.reset_user("x", group_id="x", note="x", **KEY)],
    "users.release_reservation": [lambda c: c.admin.release_reservation("x", reason="x", **KEY)],
    "webhooks.put": [
        lambda c: c.admin.put_webhook("x", "x", [], modes=["live"], filter={"userId": "x"}, template="x", **MATCHED)
    ],
    "webhooks.delete": [lambda c: c.admin.delete_webhook("x", if_match=1)],
    "webhooks.deliveries": [lambda c: next(c.admin.webhook_deliveries("x", "dead"))],
    "webhooks.rotate_secret": [lambda c: c.admin.rotate_webhook_secret("x", **KEY)],
}
"""Calls of each operation that takes something, with all arguments. Whole documents have generated types instead."""

DOCUMENTS = {"Configuration", "PlanBody", "PolicyBody", "BatchBody", "ExplainDraftBody", "WhatifBody"}
PAGING = {"cursor", "limit"}
"""Lists load their pages by themselves."""
EXCLUDED = {
    "reserve onDeny": "denials are results",
    "usage format": "CSV is text",
    "put id": "it is in the path",
    "can_use items": "an operation of batch takes them",
    "can_use ttlSeconds": "nothing is held",
}
HEADERS = {"If-Match": "1", "Last-Event-ID": "x", "Idempotency-Key": "given"}
"""Headers with an argument of the call. Deletions have no stored answers, so their key has none."""


def expected_of(operation: Mapping[str, Any], method: str, schemas: Mapping[str, Any]) -> set[str]:
    short = operation["operationId"].split(".")[-1]
    listed = "get" if method == "get" else method
    names = set()
    for parameter in operation.get("parameters", ()):
        name, place = parameter.get("name"), parameter.get("in")
        own_limit = name == "limit" and short in {"limits", "usage"}
        if place == "query" and (name not in PAGING or own_limit or listed != "get"):
            names.add(name)
        has_body = "requestBody" in operation
        if place == "header" and name in HEADERS and (name != "Idempotency-Key" or method != "delete" or has_body):
            names.add(name)
    for media in operation.get("requestBody", {}).get("content", {}).values():
        schema = media["schema"]["$ref"].split("/")[-1]
        if schema not in DOCUMENTS:
            names |= set(fields_of(schemas[schema], schemas))
    return {name for name in names if f"{short} {name}" not in EXCLUDED}


def fields_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[str]:
    if "$ref" in schema:
        return fields_of(schemas[schema["$ref"].split("/")[-1]], schemas)
    found = list(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        found += fields_of(part, schemas)
    return found


def sent_by(calls: list[Call], with_body: bool) -> set[str]:
    sent: set[str] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        sent.update(request.url.params.keys())
        sent.update(name for name, value in HEADERS.items() if request.headers.get(name, "").strip('"') == value)
        if with_body and request.content:
            sent.update(json.loads(request.content))
        return httpx.Response(400)

    with Client(api_key="ak_x", retries=0, http=httpx.Client(transport=httpx.MockTransport(answer))) as client:
        for call in calls:
            with contextlib.suppress(QuotagateError):
                call(client)
    return sent


DOCUMENT = json.loads((Path(__file__).parents[3] / "docs/openapi.json").read_text())
OPERATIONS = [
    (call["operationId"], call, method)
    for path in DOCUMENT["paths"].values()
    for method, call in path.items()
    if isinstance(call, dict) and not call["operationId"].startswith("session.")
]


def test_every_operation_that_takes_something_is_listed() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert set(CALLS) == {name for name, call, method in OPERATIONS if expected_of(call, method, schemas)}


@pytest.mark.parametrize(("name", "call", "method"), OPERATIONS, ids=[name for name, _, _ in OPERATIONS])
def test_every_parameter_of_the_api_has_an_argument(name: str, call: dict[str, Any], method: str) -> None:
    expected = expected_of(call, method, DOCUMENT["components"]["schemas"])
    bodies = [media["schema"]["$ref"] for media in call.get("requestBody", {}).get("content", {}).values()]
    with_body = not any(body.split("/")[-1] in DOCUMENTS for body in bodies)
    assert sent_by(CALLS.get(name, []), with_body) == expected
