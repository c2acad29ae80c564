"""Reading lists page by page, and the other kinds of admin calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypeVar

from quotagate import _json
from quotagate._async.settling import AsyncCore
from quotagate._async.transport import Call
from quotagate._calls import given

M = TypeVar("M", bound=_json.Model)


async def pages(core: AsyncCore, path: str, query: Mapping[str, Any]) -> AsyncGenerator[_json.JsonObject, None]:
    """Every item of a list. The next page is requested when needed."""
    cursor: str | None = None
    while True:
        answer = await core.call(Call("GET", path, query={**query, "cursor": cursor}))
        page = _json.record(answer.data)
        for item in page.get("data") or []:
            yield _json.record(item)
        cursor = page.get("nextCursor")
        if not cursor:
            return


async def models(
    core: AsyncCore, kind: type[M], path: str, query: Mapping[str, Any] | None = None
) -> AsyncGenerator[M, None]:
    """The same items as models."""
    async for item in pages(core, path, query or {}):
        yield kind.from_json(item)


async def get(core: AsyncCore, path: str, query: Mapping[str, Any] | None = None) -> Any:
    return (await core.call(Call("GET", path, query=query or {}))).data


async def write(
    core: AsyncCore,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    if_match: int | None = None,
    idempotency_key: str | None = None,
    query: Mapping[str, Any] | None = None,
) -> Any:
    """Sends a change; ``if_match`` is the version that it is based on."""
    headers = given(**{"if-match": None if if_match is None else f'"{int(if_match)}"'})
    call = Call(method, path, body, query=query or {}, headers=headers, idempotency_key=idempotency_key)
    return (await core.call(call)).data
