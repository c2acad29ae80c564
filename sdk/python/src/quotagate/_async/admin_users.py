"""Users and grants."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

from quotagate._async.pages import get, models, write
from quotagate._async.settling import AsyncCore
from quotagate._async.transport import path_of
from quotagate._calls import given
from quotagate._json import Number
from quotagate.models import Grant, ProfileView, UserChanged, UserDetailView, UserView


class AsyncAdminUsers:
    """Part of ``admin``."""

    _core: AsyncCore

    def users(self, search: str | None = None, *, contains: str | None = None) -> AsyncGenerator[UserView, None]:
        """Users whose ids begin with ``search``, or all. ``contains`` is a text anywhere in the id, the display name
        or the tags, in upper or lower case.

        Example::

            async for user in admin.users("acct_"):
                print(user.user_id, user.blocked)
        """
        return models(self._core, UserView, "users", {"search": search, "contains": contains})

    async def user(self, user_id: str) -> UserDetailView:
        """One user: subscription, counters, open reservations, grants, closed windows.

        Example::

            (await admin.user("u_42")).open_reservations
        """
        return UserDetailView.from_json(await get(self._core, path_of("users", user_id)))

    async def put_user(
        self, user_id: str, *, name: str | None = None, tags: Sequence[str] = (), idempotency_key: str | None = None
    ) -> ProfileView:
        """Replaces the user's display name and tags. Limits do not depend on them.

        Example::

            await admin.put_user("u_42", name="Ada Lovelace", tags=["vip"])
        """
        path, body = path_of("users", user_id), given(name=name, tags=list(tags))
        return ProfileView.from_json(await write(self._core, "PUT", path, body, idempotency_key=idempotency_key))

    async def block_user(
        self, user_id: str, *, note: str | None = None, idempotency_key: str | None = None
    ) -> UserChanged:
        """Denies all calls of the user, with the reason ``user_blocked``.

        Example::

            await admin.block_user("u_42", note="chargeback")
        """
        path = path_of("users", user_id) + "/block"
        changed = await write(self._core, "POST", path, given(note=note), idempotency_key=idempotency_key)
        return UserChanged.from_json(changed)

    async def unblock_user(
        self, user_id: str, *, note: str | None = None, idempotency_key: str | None = None
    ) -> UserChanged:
        """Unblocks a user.

        Example::

            await admin.unblock_user("u_42")
        """
        path = path_of("users", user_id) + "/unblock"
        changed = await write(self._core, "POST", path, given(note=note), idempotency_key=idempotency_key)
        return UserChanged.from_json(changed)

    async def reset_user(
        self,
        user_id: str,
        *,
        group_id: str | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> UserChanged:
        """Resets the user's usage to 0: of one group, or of all.

        Example::

            await admin.reset_user("u_42", group_id="images", note="our fault")
        """
        path = path_of("users", user_id) + "/reset"
        body = given(groupId=group_id, note=note)
        return UserChanged.from_json(await write(self._core, "POST", path, body, idempotency_key=idempotency_key))

    async def create_grant(
        self,
        group_id: str,
        scope: str | Mapping[str, str],
        amount: Number,
        *,
        expires_at: str | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> Grant:
        """Grants extra quota to one counter, in the group's unit. ``scope`` is the user's id, or a value for each name
        of the group's scope (``{"metadata.team": "red"}``). The grant lasts until the end of the present window. With
        ``expires_at`` (RFC 3339) it applies to each window until then. A counter has at most 8 live grants.

        Example::

            await admin.create_grant("images", "u_42", 50, note="sorry for yesterday")
        """
        whose = {"user": scope} if isinstance(scope, str) else dict(scope)
        body = given(groupId=group_id, scope=whose, amount=amount, expiresAt=expires_at, note=note)
        return Grant.from_json(await write(self._core, "POST", "grants", body, idempotency_key=idempotency_key))

    def grants(self, user_id: str | None = None) -> AsyncGenerator[Grant, None]:
        """Live grants of one user, or of all users.

        Example::

            [grant.amount async for grant in admin.grants("u_42")]
        """
        return models(self._core, Grant, "grants", {"userId": user_id})

    async def delete_grant(self, grant_id: str) -> None:
        """Revokes a grant.

        Example::

            await admin.delete_grant(grant.id)
        """
        await write(self._core, "DELETE", path_of("grants", grant_id))
