"""What every example needs: a client, a plan, and a user on that plan.

QUOTAGATE_KEY is a secret key, QUOTAGATE_ADMIN_KEY an admin key, QUOTAGATE_URL the gateway's address.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import Any

from quotagate import Client


def back_end() -> Client:
    """The application's client. A real application creates one and shares it."""
    return Client()


def put_plan(plan_id: str, *groups: Mapping[str, Any]) -> None:
    """Creates a plan, as an operator or ``quotagate apply`` does."""
    with Client(api_key=os.environ["QUOTAGATE_ADMIN_KEY"]) as operator:
        operator.admin.put_plan(plan_id, {"periodType": "monthly", "periodAnchor": "calendar", "groups": list(groups)})


def subscribed(client: Client, plan_id: str) -> str:
    """Creates a user on the plan."""
    user_id = f"u_{uuid.uuid4().hex[:8]}"
    client.upsert_subscription(user_id, plan_id)
    return user_id
