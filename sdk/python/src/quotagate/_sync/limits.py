# Generated from ../_async/limits.py by tools/generate_sync.py; do not edit.
"""Limits of one owner: another quota for one user, team, key, or other value of a group's scope."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from quotagate._calls import given
from quotagate._json import Number
from quotagate._sync.pages import models, write
from quotagate._sync.settling import Core
from quotagate._sync.transport import path_of
from quotagate.models import OwnerLimit


class Limits:
    """Another quota for one owner. Needs an ``sk_`` key, or an ``ak_`` key with the role ``support`` or more.

    ``scope`` is the user's id, or a value for each name of the group's scope (``{"metadata.team": "red"}``).
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def put(
        self,
        group_id: str,
        scope: str | Mapping[str, str],
        quota: Number | None,
        *,
        until: str | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> OwnerLimit:
        """Sets the owner's quota in a group, in the group's unit. It applies to the next call, on every node. 0 denies
        every matching call, None counts without limit; with ``until`` (RFC 3339) it ends by itself.

        Raises ``QuotagateError`` (``invalid_request``, ``not_found``) and ``GatewayUnavailable``.

        Example::

            client.limits.put("team_tokens", {"metadata.team": "red"}, 500_000)
        """
        body = {"scope": owner(scope), "quota": quota, **given(until=until, note=note)}
        answer = write(self._core, "PUT", path_of("limits", group_id), body, idempotency_key=idempotency_key)
        return OwnerLimit.from_json(answer)

    def list(self, group_id: str) -> Generator[OwnerLimit, None]:
        """The owners that have another quota than the group.

        Example::

            for limit in client.limits.list("team_tokens"):
                print(limit.scope, limit.quota)
        """
        return models(self._core, OwnerLimit, "limits", {"groupId": group_id})

    def delete(self, group_id: str, scope: str | Mapping[str, str], *, idempotency_key: str | None = None) -> None:
        """Removes the owner's quota, so that the group's applies again. Raises ``not_found`` (404) without one.

        Example::

            client.limits.delete("team_tokens", {"metadata.team": "red"})
        """
        path, body = path_of("limits", group_id), {"scope": owner(scope)}
        write(self._core, "DELETE", path, body, idempotency_key=idempotency_key)


def owner(scope: str | Mapping[str, str]) -> dict[str, str]:
    return {"user": scope} if isinstance(scope, str) else dict(scope)
