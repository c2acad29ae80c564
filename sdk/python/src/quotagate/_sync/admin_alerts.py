# Generated from ../_async/admin_alerts.py by tools/generate_sync.py; do not edit.
"""Approvals, alerts and webhooks."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal

from quotagate import bodies
from quotagate._calls import given
from quotagate._json import Number
from quotagate._sync.pages import get, models, write
from quotagate._sync.settling import Core
from quotagate._sync.transport import path_of
from quotagate.models import AlertView, ApprovalView, DeliveryStatus, DeliveryView, Grant, WebhookView


class AdminAlerts:
    """Part of ``admin``."""

    _core: Core

    def approvals(self, status: Literal["open", "decided"] | None = None) -> Generator[ApprovalView, None]:
        """Approval requests, newest first: the open ones, or with ``"decided"`` the others.

        Example::

            for request in admin.approvals():
                print(request.label, request.scope, request.requested)
        """
        return models(self._core, ApprovalView, "approvals", {"status": status})

    def get_approval(self, approval_id: str) -> ApprovalView:
        """One approval request.

        Example::

            (admin.get_approval(denied.approval.id)).status
        """
        return ApprovalView.from_json(get(self._core, path_of("approvals", approval_id)))

    def approve(
        self,
        approval_id: str,
        amount: Number,
        *,
        until: str | None = None,
        note: str | None = None,
        rollback_owner: str | None = None,
        idempotency_key: str | None = None,
    ) -> Grant:
        """Approves a request. This creates a grant of ``amount`` (in the group's unit) until the end of the window, or,
        with ``until`` (RFC 3339), in each window until then. ``rollback_owner`` is responsible for revoking it.

        Example::

            admin.approve(request.id, 1_000, note="launch week", rollback_owner="ops@example.com")
        """
        path = path_of("approvals", approval_id) + "/approve"
        body = given(amount=amount, until=until, note=note, rollbackOwner=rollback_owner)
        return Grant.from_json(write(self._core, "POST", path, body, idempotency_key=idempotency_key))

    def reject(self, approval_id: str, *, note: str | None = None, idempotency_key: str | None = None) -> ApprovalView:
        """Rejects a request until its window ends or someone reopens it.

        Example::

            admin.reject(request.id, note="not this month")
        """
        path = path_of("approvals", approval_id) + "/reject"
        decided = write(self._core, "POST", path, given(note=note), idempotency_key=idempotency_key)
        return ApprovalView.from_json(decided)

    def reopen(self, approval_id: str, *, note: str | None = None, idempotency_key: str | None = None) -> ApprovalView:
        """Reopens a decided request.

        Example::

            admin.reopen(request.id)
        """
        path = path_of("approvals", approval_id) + "/reopen"
        decided = write(self._core, "POST", path, given(note=note), idempotency_key=idempotency_key)
        return ApprovalView.from_json(decided)

    def alerts(self) -> Generator[AlertView, None]:
        """The events of webhooks, newest first: thresholds, limits, approval requests, expiries.

        Example::

            for alert in admin.alerts():
                print(alert.timestamp, alert.text)
        """
        return models(self._core, AlertView, "alerts")

    def put_webhook(
        self,
        webhook_id: str,
        url: str,
        events: Sequence[bodies.WebhookEvent],
        *,
        modes: Sequence[str] | None = None,
        filter: bodies.Filter | Mapping[str, Any] | None = None,
        template: str | None = None,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> WebhookView:
        """Creates or replaces a webhook that receives these events. ``secret`` verifies signatures; only the answer
        that creates the webhook contains it. ``template`` is the payload's ``text``, for chats. ``modes`` are
        ``live`` (the default), ``test`` (every sandbox) and ``test/<sandbox>``.

        Example::

            secret = (admin.put_webhook("ops", "https://example.com/hook", ["limit.reached"])).secret
        """
        body = given(
            url=url,
            events=list(events),
            modes=list(modes) if modes else None,
            filter=dict(filter) if filter else None,
            template=template,
        )
        path = path_of("webhooks", webhook_id)
        written = write(self._core, "PUT", path, body, if_match=if_match, idempotency_key=idempotency_key)
        return WebhookView.from_json(written)

    def webhooks(self) -> Generator[WebhookView, None]:
        """All webhooks.

        Example::

            [webhook.url for webhook in admin.webhooks()]
        """
        return models(self._core, WebhookView, "webhooks")

    def get_webhook(self, webhook_id: str) -> WebhookView:
        """One webhook. Raises ``not_found`` (404).

        Example::

            (admin.get_webhook("ops")).events
        """
        return WebhookView.from_json(get(self._core, path_of("webhooks", webhook_id)))

    def delete_webhook(self, webhook_id: str, *, if_match: int | None = None) -> None:
        """Deletes a webhook.

        Example::

            admin.delete_webhook("ops")
        """
        write(self._core, "DELETE", path_of("webhooks", webhook_id), if_match=if_match)

    def rotate_webhook_secret(self, webhook_id: str, *, idempotency_key: str | None = None) -> WebhookView:
        """Creates a new ``secret`` for a webhook. Only this answer contains it. For 24 hours, messages are signed with
        both secrets.

        Example::

            secret = (admin.rotate_webhook_secret("ops")).secret
        """
        path = path_of("webhooks", webhook_id) + "/rotate-secret"
        return WebhookView.from_json(write(self._core, "POST", path, idempotency_key=idempotency_key))

    def webhook_deliveries(
        self, webhook_id: str, status: DeliveryStatus | None = None
    ) -> Generator[DeliveryView, None]:
        """The deliveries of a webhook: delivered, pending, or failed for good (``dead``).

        Example::

            for delivery in admin.webhook_deliveries("ops", "dead"):
                print(delivery.event, delivery.error)
        """
        return models(self._core, DeliveryView, path_of("webhooks", webhook_id) + "/deliveries", {"status": status})

    def resend_delivery(self, webhook_id: str, delivery_id: str) -> DeliveryView:
        """Sends a delivery again.

        Example::

            admin.resend_delivery("ops", delivery.id)
        """
        path = path_of("webhooks", webhook_id, "deliveries", delivery_id) + "/resend"
        return DeliveryView.from_json(write(self._core, "POST", path))
