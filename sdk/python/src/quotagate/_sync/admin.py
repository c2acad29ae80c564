# Generated from ../_async/admin.py by tools/generate_sync.py; do not edit.
"""The part of the client for operators, with an ``ak_`` key."""

from __future__ import annotations

from quotagate._sync.admin_access import AdminAccess
from quotagate._sync.admin_alerts import AdminAlerts
from quotagate._sync.admin_plans import AdminPlans
from quotagate._sync.admin_policies import AdminPolicies
from quotagate._sync.admin_reports import AdminReports
from quotagate._sync.admin_users import AdminUsers
from quotagate._sync.settling import Core


class Admin(AdminPlans, AdminUsers, AdminAccess, AdminPolicies, AdminAlerts, AdminReports):
    """Configuration, users, keys, apps, policies, reports. Needs an ``ak_`` key with the right role. All calls raise
    ``QuotagateError`` (``forbidden_key``, ``not_found``, ``version_conflict`` …) and ``GatewayUnavailable``.

    Lists load their next page when you reach it.

    Example::

        ops = Client(api_key=os.environ["QUOTAGATE_KEY"], mode="test/ci")
        ops.admin.put_plan("free", {"periodType": "monthly", "periodAnchor": "calendar", "groups": [...]})
    """

    def __init__(self, core: Core) -> None:
        self._core = core
