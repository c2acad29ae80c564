# Generated from ../_async/admin_policies.py by tools/generate_sync.py; do not edit.
"""Policies: limits that apply to every event of the app, whatever the user's plan."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from quotagate import bodies
from quotagate._calls import given
from quotagate._sync.pages import get, models, write
from quotagate._sync.settling import Core
from quotagate._sync.transport import path_of
from quotagate.models import CounterView, PolicyVersionView, PolicyView, Preview


class AdminPolicies:
    """Part of ``admin``."""

    _core: Core

    def put_policy(
        self,
        policy_id: str,
        policy: bodies.PolicyBody | Mapping[str, Any],
        *,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> PolicyView:
        """Creates or replaces a policy, by the names of the API: a body like a plan's, with ``owner``,
        ``environment``, ``notes``, ``approval``, ``retry`` and more. ``if_match`` is the version that the change is
        based on: ``version_conflict`` (412) if there is a newer one.

        Example::

            admin.put_policy("team_budget", {
                "owner": "ops@example.com", "periodType": "monthly",
                "groups": [{"id": "team_tokens", "unit": "tokens", "quota": 5_000_000,
                            "scope": ["metadata.team"], "matches": [{"event": "llm.*"}]}],
            })
        """
        path = path_of("policies", policy_id)
        written = write(self._core, "PUT", path, policy, if_match=if_match, idempotency_key=idempotency_key)
        return PolicyView.from_json(written)

    def preview_policy(
        self, policy_id: str, policy: bodies.PolicyBody | Mapping[str, Any], *, if_match: int | None = None
    ) -> Preview:
        """What ``put_policy`` would change. Writes nothing.

        Example::

            (admin.preview_policy("team_budget", draft)).changes
        """
        path, query = path_of("policies", policy_id), {"dryRun": "true"}
        return Preview.from_json(write(self._core, "PUT", path, policy, if_match=if_match, query=query))

    def policies(self) -> Generator[PolicyView, None]:
        """All policies.

        Example::

            [policy.id for policy in admin.policies() if policy.review_due]
        """
        return models(self._core, PolicyView, "policies")

    def get_policy(self, policy_id: str) -> PolicyView:
        """One policy. Raises ``not_found`` (404).

        Example::

            (admin.get_policy("team_budget")).version
        """
        return PolicyView.from_json(get(self._core, path_of("policies", policy_id)))

    def delete_policy(self, policy_id: str, *, if_match: int | None = None) -> None:
        """Deletes a policy.

        Example::

            admin.delete_policy("team_budget")
        """
        write(self._core, "DELETE", path_of("policies", policy_id), if_match=if_match)

    def policy_versions(self, policy_id: str) -> Generator[PolicyVersionView, None]:
        """The versions of a policy: at least the last hundred.

        Example::

            [version.created_by for version in admin.policy_versions("team_budget")]
        """
        return models(self._core, PolicyVersionView, path_of("policies", policy_id) + "/versions")

    def rollback_policy(
        self, policy_id: str, version: int, *, if_match: int | None = None, idempotency_key: str | None = None
    ) -> PolicyView:
        """Writes the content of an earlier version as a new one.

        Example::

            admin.rollback_policy("team_budget", earlier.version)
        """
        path = path_of("policies", policy_id) + "/rollback"
        body = {"version": version}
        written = write(self._core, "POST", path, body, if_match=if_match, idempotency_key=idempotency_key)
        return PolicyView.from_json(written)

    def review_policy(
        self, policy_id: str, *, note: str | None = None, idempotency_key: str | None = None
    ) -> PolicyView:
        """Records a review of the policy. The next one is due one ``reviewCadence`` later (``review_due_at``).

        Example::

            admin.review_policy("team_budget", note="still right")
        """
        path = path_of("policies", policy_id) + "/review"
        reviewed = write(self._core, "POST", path, given(note=note), idempotency_key=idempotency_key)
        return PolicyView.from_json(reviewed)

    def counters(self, group_id: str) -> Generator[CounterView, None]:
        """The counters of a group whose scope is not only the user, such as one per team.

        Example::

            for counter in admin.counters("team_tokens"):
                print(counter.scope, counter.used)
        """
        return models(self._core, CounterView, "counters", {"groupId": group_id})
