"""What Schemathesis does not know by itself: the key of each operation, and what every error looks like here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import schemathesis

KEYS = json.loads(os.environ["HOSTILE_KEYS"])
REACHED = Path(os.environ["HOSTILE_REACHED"])
reached: set[str] = set()


# Not kept from call to call: it is not the same for all.
@schemathesis.auth(refresh_interval=None)
class Key:
    def get(self, case: schemathesis.Case, ctx: Any) -> str:
        return KEYS[f"{case.operation.method.upper()} {case.operation.path}"]

    def set(self, case: schemathesis.Case, data: str, ctx: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"
        if data.startswith("ak_"):
            # The sandbox of the secret key, so that both meet the same data; an app with any other name is not there.
            case.headers["X-Mode"] = "test"
            case.headers.pop("X-App", None)


@schemathesis.hook
def after_call(ctx: Any, case: schemathesis.Case, response: schemathesis.Response) -> None:
    """Writes down each operation that was called with its own method."""
    operation = f"{case.operation.method.upper()} {case.operation.path}"
    if operation not in reached and case.method.upper() == case.operation.method.upper():
        reached.add(operation)
        with REACHED.open("a") as file:
            file.write(operation + "\n")


@schemathesis.check
def every_error_is_a_problem(ctx: Any, response: schemathesis.Response, case: schemathesis.Case) -> None:
    if response.status_code < 400 or case.operation.path == "/readyz":
        return
    kind = response.headers.get("content-type", [""])[0]
    assert kind == "application/problem+json", f"an error of type {kind!r}"
    problem = response.json()
    assert problem["status"] == response.status_code, problem
    assert problem["code"] and problem["requestId"] and problem["detail"], problem
    assert not any(secret in response.text for secret in (*KEYS.values(), "panicked", "redis+unix", ".rs:")), problem


@schemathesis.check
def every_fault_in_a_batch_is_a_problem(ctx: Any, response: schemathesis.Response, case: schemathesis.Case) -> None:
    if case.operation.path != "/api/v1/batch" or response.status_code != 200:
        return
    results = response.json()["results"]
    assert len(results) in range(1, 101), len(results)
    for result in results:
        status, body = result["status"], result["body"]
        assert status < 500, result
        assert status < 400 or (body["status"] == status and body["code"] and body["requestId"] and body["detail"]), result
