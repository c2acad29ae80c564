# Generated from ../_async/pages.py by tools/generate_sync.py; do not edit.
"""Reading lists page by page, and the other kinds of admin calls."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, TypeVar

from quotagate import _json
from quotagate._calls import given
from quotagate._sync.settling import Core
from quotagate._sync.transport import Call

M = TypeVar("M", bound=_json.Model)


def pages(core: Core, path: str, query: Mapping[str, Any]) -> Generator[_json.JsonObject, None]:
    """Every item of a list. The next page is requested when needed."""
    cursor: str | None = None
    while True:
        answer = core.call(Call("GET", path, query={**query, "cursor": cursor}))
        page = _json.record(answer.data)
        for item in page.get("data") or []:
            yield _json.record(item)
        cursor = page.get("nextCursor")
        if not cursor:
            return


def models(core: Core, kind: type[M], path: str, query: Mapping[str, Any] | None = None) -> Generator[M, None]:
    """The same items as models."""
    for item in pages(core, path, query or {}):
        yield kind.from_json(item)


def get(core: Core, path: str, query: Mapping[str, Any] | None = None) -> Any:
    return (core.call(Call("GET", path, query=query or {}))).data


def write(
    core: Core,
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
    return (core.call(call)).data
