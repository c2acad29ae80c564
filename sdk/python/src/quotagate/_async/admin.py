"""The part of the client for operators, with an ``ak_`` key."""

from __future__ import annotations

from quotagate._async.admin_access import AsyncAdminAccess
from quotagate._async.admin_alerts import AsyncAdminAlerts
from quotagate._async.admin_plans import AsyncAdminPlans
from quotagate._async.admin_policies import AsyncAdminPolicies
from quotagate._async.admin_reports import AsyncAdminReports
from quotagate._async.admin_users import AsyncAdminUsers
from quotagate._async.settling import AsyncCore


class AsyncAdmin(
    AsyncAdminPlans, AsyncAdminUsers, AsyncAdminAccess, AsyncAdminPolicies, AsyncAdminAlerts, AsyncAdminReports
):
    """Configuration, users, keys, apps, policies, reports. Needs an ``ak_`` key with the right role. All calls raise
    ``QuotagateError`` (``forbidden_key``, ``not_found``, ``version_conflict`` …) and ``GatewayUnavailable``.

    Lists load their next page when you reach it.

    Example::

        ops = AsyncClient(api_key=os.environ["QUOTAGATE_KEY"], mode="test/ci")
        await ops.admin.put_plan("free", {"periodType": "monthly", "periodAnchor": "calendar", "groups": [...]})
    """

    def __init__(self, core: AsyncCore) -> None:
        self._core = core
