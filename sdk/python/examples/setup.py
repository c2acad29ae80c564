"""What the examples share: two clients, and a plan with a user on it.

QG_KEY is a secret key, QG_ADMIN an admin key; QUOTAGATE_URL says where the gateway is.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import Any

from quotagate import Client


def back_end() -> Client:
    """The application's client. A real one is made once and shared."""
    return Client(api_key=os.environ["QG_KEY"])


def put_plan(plan_id: str, *groups: Mapping[str, Any]) -> None:
    """What an operator does, or a file with ``quotagate apply``."""
    with Client(api_key=os.environ["QG_ADMIN"]) as operator:
        operator.admin.put_plan(plan_id, {"periodType": "monthly", "periodAnchor": "calendar", "groups": list(groups)})


def subscribed(client: Client, plan_id: str) -> str:
    """A new user on the plan."""
    user_id = f"u_{uuid.uuid4().hex[:8]}"
    client.upsert_subscription(user_id, plan_id)
    return user_id
