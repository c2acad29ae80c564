"""Keys, apps and the test clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from quotagate._async.pages import get, models, write
from quotagate._async.settling import AsyncCore
from quotagate._async.transport import path_of
from quotagate._calls import given
from quotagate.models import AppView, ClockView, KeyKind, KeyMode, KeyView, Placement, Role
from quotagate.results import Metadata


class AsyncAdminAccess:
    """Part of ``admin``."""

    _core: AsyncCore

    async def create_key(
        self,
        kind: KeyKind,
        *,
        mode: KeyMode | None = None,
        sandbox: str | None = None,
        role: Role | None = None,
        name: str | None = None,
        metadata: Metadata | None = None,
        origins: Sequence[str] | None = None,
        require_user_token: bool | None = None,
        idempotency_key: str | None = None,
    ) -> KeyView:
        """Creates a key. Only this answer contains ``key`` and ``user_token_secret``.

        Secret and publishable keys have a ``mode`` and, in test mode, a ``sandbox``. Admin keys have a ``role``. The
        ``metadata`` of a secret key overrides that of its calls. Publishable keys have ``origins`` and
        ``require_user_token``.

        Example::

            key = (await admin.create_key("secret", mode="test", sandbox="ci")).key
        """
        body = given(
            kind=kind,
            mode=mode,
            sandbox=sandbox,
            role=role,
            name=name,
            metadata=dict(metadata) if metadata else None,
            origins=list(origins) if origins is not None else None,
            requireUserToken=require_user_token,
        )
        return KeyView.from_json(await write(self._core, "POST", "keys", body, idempotency_key=idempotency_key))

    def keys(self) -> AsyncGenerator[KeyView, None]:
        """Keys, by their masked prefix.

        Example::

            [key.prefix async for key in admin.keys()]
        """
        return models(self._core, KeyView, "keys")

    async def delete_key(self, key_id: str) -> None:
        """Revokes a key on all nodes within one second.

        Example::

            await admin.delete_key(key.id)
        """
        await write(self._core, "DELETE", path_of("keys", key_id))

    async def create_app(
        self, app_id: str, *, placement: Placement | None = None, idempotency_key: str | None = None
    ) -> AppView:
        """Creates an app; needs the root admin key. ``placement`` cannot be changed later.

        Example::

            await admin.create_app("shop")
        """
        body = given(id=app_id, placement=placement)
        return AppView.from_json(await write(self._core, "POST", "apps", body, idempotency_key=idempotency_key))

    def apps(self) -> AsyncGenerator[AppView, None]:
        """All apps; needs the root admin key.

        Example::

            [app.id async for app in admin.apps()]
        """
        return models(self._core, AppView, "apps")

    async def delete_app(self, app_id: str) -> None:
        """Deletes an app with all of its data; needs the root admin key.

        Example::

            await admin.delete_app("shop")
        """
        await write(self._core, "DELETE", path_of("apps", app_id))

    async def test_clock(self) -> ClockView:
        """The sandbox's clock; ``now`` is None in real time. An ``sk_test_`` key may call this, too.

        Example::

            (await admin.test_clock()).now
        """
        return ClockView.from_json(await get(self._core, "test-clock"))

    async def set_test_clock(self, now: str) -> ClockView:
        """Freezes the sandbox's time at ``now`` (RFC 3339); it moves forward only.

        Example::

            await admin.set_test_clock("2027-01-31T10:00:00Z")
        """
        return ClockView.from_json(await write(self._core, "PUT", "test-clock", {"now": now}))

    async def empty_sandbox(self) -> None:
        """Deletes the sandbox's data and returns it to real time. Configuration and keys stay.

        Example::

            await admin.empty_sandbox()
        """
        await write(self._core, "DELETE", "test-clock")
