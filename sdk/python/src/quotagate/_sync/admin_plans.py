# Generated from ../_async/admin_plans.py by tools/generate_sync.py; do not edit.
"""Plans and the configuration of an app."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from quotagate import bodies
from quotagate._calls import given
from quotagate._sync.pages import get, models, write
from quotagate._sync.settling import Core
from quotagate._sync.transport import Call, path_of
from quotagate.models import Applied, AuditView, Configuration, PlanView, Preview, Settings, VersionView


class AdminPlans:
    """Part of ``admin``."""

    _core: Core

    def put_plan(
        self,
        plan_id: str,
        plan: bodies.PlanBody | Mapping[str, Any],
        *,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> PlanView:
        """Creates or replaces a plan, by the names of the API. It applies from the next call.

        ``if_match`` is the version that the change is based on: ``version_conflict`` (412) if there is a newer one. An
        invalid plan raises ``invalid_request`` (400), with each fault in ``errors``.

        Example::

            admin.put_plan("free", {
                "periodType": "monthly", "periodAnchor": "calendar",
                "groups": [{"id": "images", "unit": "count", "quota": 20, "matches": [{"event": "image.*"}]}],
            })
        """
        path = path_of("plans", plan_id)
        written = write(self._core, "PUT", path, plan, if_match=if_match, idempotency_key=idempotency_key)
        return PlanView.from_json(written)

    def preview_plan(
        self, plan_id: str, plan: bodies.PlanBody | Mapping[str, Any], *, if_match: int | None = None
    ) -> Preview:
        """What ``put_plan`` would change, and how many users would be over their limit. Writes nothing.

        Example::

            (admin.preview_plan("free", draft)).over_limit
        """
        path, query = path_of("plans", plan_id), {"dryRun": "true"}
        return Preview.from_json(write(self._core, "PUT", path, plan, if_match=if_match, query=query))

    def get_plan(self, plan_id: str) -> PlanView:
        """One plan. Raises ``not_found`` (404).

        Example::

            (admin.get_plan("free")).version
        """
        return PlanView.from_json(get(self._core, path_of("plans", plan_id)))

    def delete_plan(self, plan_id: str, *, move_to: str | None = None, if_match: int | None = None) -> None:
        """Deletes a plan. Raises ``plan_in_use`` (409) if it has users and ``move_to`` names no other plan for them.

        Example::

            admin.delete_plan("beta", move_to="free")
        """
        path = path_of("plans", plan_id)
        write(self._core, "DELETE", path, if_match=if_match, query={"moveTo": move_to})

    def plan_versions(self, plan_id: str) -> Generator[VersionView, None]:
        """The versions of a plan: at least the last hundred.

        Example::

            for version in admin.plan_versions("free"):
                print(version.version, version.created_by)
        """
        return models(self._core, VersionView, path_of("plans", plan_id) + "/versions")

    def rollback_plan(
        self, plan_id: str, version: int, *, if_match: int | None = None, idempotency_key: str | None = None
    ) -> PlanView:
        """Writes the content of an earlier version as a new one.

        Example::

            admin.rollback_plan("free", earlier.version)
        """
        path = path_of("plans", plan_id) + "/rollback"
        body = {"version": version}
        written = write(self._core, "POST", path, body, if_match=if_match, idempotency_key=idempotency_key)
        return PlanView.from_json(written)

    def settings(self) -> Settings:
        """The app's settings.

        Example::

            (admin.settings()).default_plan_id
        """
        return Settings.from_json(get(self._core, "app"))

    def put_settings(
        self,
        *,
        default_plan_id: str | None = None,
        on_store_failure: str | None = None,
        max_scope_values: int | None = None,
        report_labels: Sequence[str] | None = None,
        currency: str | None = None,
        idempotency_key: str | None = None,
    ) -> Settings:
        """Replaces all settings of the app; a setting that you leave out takes its default.

        ``default_plan_id`` is the plan of users without subscription; None denies them. ``on_store_failure`` is
        ``"deny"`` (default) or ``"allow"``. ``max_scope_values`` limits how many values of one metadata scope have
        counters at the same time. ``report_labels`` adds metadata fields that reports can group by. ``currency`` (ISO
        4217) is how the dashboard writes cents.

        Example::

            admin.put_settings(default_plan_id="free")
        """
        labels = None if report_labels is None else list(report_labels)
        body = given(
            onStoreFailure=on_store_failure, maxScopeValues=max_scope_values, reportLabels=labels, currency=currency
        )
        body["defaultPlanId"] = default_plan_id
        return Settings.from_json(write(self._core, "PUT", "app", body, idempotency_key=idempotency_key))

    def configuration(self) -> Configuration:
        """The whole configuration as one document.

        Example::

            json.dumps((admin.configuration()).to_json())
        """
        return Configuration.from_json(get(self._core, "configuration"))

    def configuration_with_revision(self) -> tuple[Configuration, int]:
        """The same with its revision, so that ``apply_configuration`` can refuse to overwrite a later change.

        Example::

            configuration, revision = admin.configuration_with_revision()
            admin.apply_configuration(edited(configuration), if_match=revision)
        """
        answer = self._core.call(Call("GET", "configuration"))
        return Configuration.from_json(answer.data), int(answer.headers["etag"].strip('"'))

    def apply_configuration(
        self,
        configuration: bodies.Configuration | Mapping[str, Any],
        *,
        dry_run: bool = False,
        prune: bool = True,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> Applied:
        """Makes the configuration match the document in one step. With ``dry_run`` it only returns the difference.

        A part that the document leaves out stays as it is. Within a part, entries that the document does not have are
        deleted, or with ``prune=False`` stay as ``unlisted``. ``if_match`` is the revision that the change is based
        on, such as ``revision`` of a dry run: ``version_conflict`` (412) if there is a newer one.

        Example::

            changes = admin.apply_configuration({"plans": [...]}, dry_run=True)
            admin.apply_configuration({"plans": [...]}, if_match=changes.revision)
        """
        applied = write(
            self._core,
            "PUT",
            "configuration",
            configuration,
            if_match=if_match,
            idempotency_key=idempotency_key,
            query=given(dryRun="true" if dry_run else None, prune=None if prune else "false"),
        )
        return Applied.from_json(applied)

    def audit(
        self, *, actor: str | None = None, action: str | None = None, target: str | None = None
    ) -> Generator[AuditView, None]:
        """The audit log, newest first: changes of the configuration, of keys, and of users of this mode.

        Example::

            for change in admin.audit(target="plan:free"):
                print(change.at, change.actor, change.before, change.after)
        """
        return models(self._core, AuditView, "audit", {"actor": actor, "action": action, "target": target})
