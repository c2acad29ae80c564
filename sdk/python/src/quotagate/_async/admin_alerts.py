"""Approvals, alerts and webhooks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal

from quotagate import bodies
from quotagate._async.pages import get, models, write
from quotagate._async.settling import AsyncCore
from quotagate._async.transport import path_of
from quotagate._calls import given
from quotagate._json import Number
from quotagate.models import AlertView, ApprovalView, DeliveryStatus, DeliveryView, Grant, WebhookView


class AsyncAdminAlerts:
    """Part of ``admin``."""

    _core: AsyncCore

    def approvals(self, status: Literal["open", "decided"] | None = None) -> AsyncGenerator[ApprovalView, None]:
        """Approval requests, newest first: the open ones, or with ``"decided"`` the others.

        Example::

            async for request in admin.approvals():
                print(request.label, request.scope, request.requested)
        """
        return models(self._core, ApprovalView, "approvals", {"status": status})

    async def get_approval(self, approval_id: str) -> ApprovalView:
        """One approval request.

        Example::

            (await admin.get_approval(denied.approval.id)).status
        """
        return ApprovalView.from_json(await get(self._core, path_of("approvals", approval_id)))

    async def approve(
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

            await admin.approve(request.id, 1_000, note="launch week", rollback_owner="ops@example.com")
        """
        path = path_of("approvals", approval_id) + "/approve"
        body = given(amount=amount, until=until, note=note, rollbackOwner=rollback_owner)
        return Grant.from_json(await write(self._core, "POST", path, body, idempotency_key=idempotency_key))

    async def reject(
        self, approval_id: str, *, note: str | None = None, idempotency_key: str | None = None
    ) -> ApprovalView:
        """Rejects a request until its window ends or someone reopens it.

        Example::

            await admin.reject(request.id, note="not this month")
        """
        path = path_of("approvals", approval_id) + "/reject"
        decided = await write(self._core, "POST", path, given(note=note), idempotency_key=idempotency_key)
        return ApprovalView.from_json(decided)

    async def reopen(
        self, approval_id: str, *, note: str | None = None, idempotency_key: str | None = None
    ) -> ApprovalView:
        """Reopens a decided request.

        Example::

            await admin.reopen(request.id)
        """
        path = path_of("approvals", approval_id) + "/reopen"
        decided = await write(self._core, "POST", path, given(note=note), idempotency_key=idempotency_key)
        return ApprovalView.from_json(decided)

    def alerts(self) -> AsyncGenerator[AlertView, None]:
        """The events of webhooks, newest first: thresholds, limits, approval requests, expiries.

        Example::

            async for alert in admin.alerts():
                print(alert.timestamp, alert.text)
        """
        return models(self._core, AlertView, "alerts")

    async def put_webhook(
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

            secret = (await admin.put_webhook("ops", "https://example.com/hook", ["limit.reached"])).secret
        """
        body = given(
            url=url,
            events=list(events),
            modes=list(modes) if modes else None,
            filter=dict(filter) if filter else None,
            template=template,
        )
        path = path_of("webhooks", webhook_id)
        written = await write(self._core, "PUT", path, body, if_match=if_match, idempotency_key=idempotency_key)
        return WebhookView.from_json(written)

    def webhooks(self) -> AsyncGenerator[WebhookView, None]:
        """All webhooks.

        Example::

            [webhook.url async for webhook in admin.webhooks()]
        """
        return models(self._core, WebhookView, "webhooks")

    async def get_webhook(self, webhook_id: str) -> WebhookView:
        """One webhook. Raises ``not_found`` (404).

        Example::

            (await admin.get_webhook("ops")).events
        """
        return WebhookView.from_json(await get(self._core, path_of("webhooks", webhook_id)))

    async def delete_webhook(self, webhook_id: str, *, if_match: int | None = None) -> None:
        """Deletes a webhook.

        Example::

            await admin.delete_webhook("ops")
        """
        await write(self._core, "DELETE", path_of("webhooks", webhook_id), if_match=if_match)

    async def rotate_webhook_secret(self, webhook_id: str, *, idempotency_key: str | None = None) -> WebhookView:
        """Creates a new ``secret`` for a webhook. Only this answer contains it. For 24 hours, messages are signed with
        both secrets.

        Example::

            secret = (await admin.rotate_webhook_secret("ops")).secret
        """
        path = path_of("webhooks", webhook_id) + "/rotate-secret"
        return WebhookView.from_json(await write(self._core, "POST", path, idempotency_key=idempotency_key))

    def webhook_deliveries(
        self, webhook_id: str, status: DeliveryStatus | None = None
    ) -> AsyncGenerator[DeliveryView, None]:
        """The deliveries of a webhook: delivered, pending, or failed for good (``dead``).

        Example::

            async for delivery in admin.webhook_deliveries("ops", "dead"):
                print(delivery.event, delivery.error)
        """
        return models(self._core, DeliveryView, path_of("webhooks", webhook_id) + "/deliveries", {"status": status})

    async def resend_delivery(self, webhook_id: str, delivery_id: str) -> DeliveryView:
        """Sends a delivery again.

        Example::

            await admin.resend_delivery("ops", delivery.id)
        """
        path = path_of("webhooks", webhook_id, "deliveries", delivery_id) + "/resend"
        return DeliveryView.from_json(await write(self._core, "POST", path))
