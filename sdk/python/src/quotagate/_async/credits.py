"""Credits: prepaid amounts of one owner in a balance group, until they are used up or expire."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from quotagate._async.limits import owner
from quotagate._async.pages import models, write
from quotagate._async.settling import AsyncCore
from quotagate._async.transport import path_of
from quotagate._calls import given, named
from quotagate._json import Number
from quotagate.models import Credit


class AsyncCredits:
    """Prepaid amounts. Needs an ``sk_`` key, or an ``ak_`` key with the role ``support`` or more."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    async def create(
        self,
        group_id: str,
        scope: str | Mapping[str, str],
        amount: Number,
        *,
        expires_at: str | None = None,
        source_id: str | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> Credit:
        """Adds a credit to an owner's balance, in the group's unit. The next call can use it, on every node. ``scope``
        is the user's id, or a value for each name of the group's scope. What remains lapses at ``expires_at``
        (RFC 3339). A ``source_id`` (the ID of a payment) adds at most one credit to the owner in this group: a
        repetition returns that credit.

        Raises ``QuotagateError`` (``invalid_request``, ``too_many_credits``) and ``GatewayUnavailable``.

        Example::

            await client.credits.create("credits", "u_42", 500, source_id=payment.id)
        """
        optional = given(expiresAt=expires_at, sourceId=source_id, note=note)
        body = {"groupId": group_id, "scope": owner(scope), "amount": amount, **optional}
        return Credit.from_json(await write(self._core, "POST", "credits", body, idempotency_key=idempotency_key))

    def list(
        self,
        group_id: str,
        user_id: str | None = None,
        *,
        key_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Credit, None]:
        """The credits of one owner in a balance group, live and ended ones, the newest first. With ``key_id`` or
        ``metadata`` those of such an owner, for example ``{"team": "red"}``.

        Example::

            async for credit in client.credits.list("credits", "u_42"):
                print(credit.amount, credit.remaining, credit.expires_at)
        """
        query = {"groupId": group_id, "userId": user_id, "key": key_id, **named(metadata)}
        return models(self._core, Credit, "credits", query)

    async def void(
        self,
        credit_id: str,
        amount: Number | None = None,
        *,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> Credit:
        """Removes what remains of a credit, for a refund or a chargeback. Without ``amount``, also what open
        reservations return later; with it, only that amount.

        Raises ``QuotagateError`` (``invalid_request``, ``not_found``) and ``GatewayUnavailable``.

        Example::

            await client.credits.void(credit.id, note="chargeback")
        """
        path, body = path_of("credits", credit_id, "void"), given(amount=amount, note=note)
        return Credit.from_json(await write(self._core, "POST", path, body, idempotency_key=idempotency_key))
