"""Metering for FastAPI, Starlette and other ASGI applications. This module imports none of them.

Example::

    app = FastAPI()
    app.add_exception_handler(Denied, denied_handler)
    app.add_middleware(
        QuotagateMiddleware,
        client=AsyncClient(),
        user=lambda scope: scope["state"].get("user_id"),
        event=lambda scope: {"/images": "image.render"}.get(scope["path"]),
    )
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias, TypeVar

from quotagate._async.client import AsyncClient
from quotagate._async.reservation import AsyncReservation
from quotagate._json import Number
from quotagate.errors import Denied, GatewayUnavailable
from quotagate.rate_limit import rate_limit_headers
from quotagate.results import Metadata

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

T = TypeVar("T")
FromScope: TypeAlias = Callable[[Scope], T | Awaitable[T]]


class DenialResponse:
    """An ASGI application that answers with a denial: 429 (503 if the gateway cannot be reached), the rate limit
    headers and ``application/problem+json`` with ``code``, ``detail``, ``reasons`` and ``onLimit``.

    Example::

        await DenialResponse(error)(scope, receive, send)
    """

    def __init__(self, error: Denied | GatewayUnavailable) -> None:
        # What exactly failed between here and the gateway does not concern end users.
        code, status, detail = "gateway_unavailable", 503, "The quota cannot be checked right now"
        more: dict[str, Any] = {"reasons": [code]}
        self.headers = {"content-type": "application/problem+json"}
        if isinstance(error, Denied):
            code, status, detail = error.code, error.status, error.message
            on_limit = error.on_limit and error.on_limit.to_json()
            more = {
                "reasons": list(error.decision.reasons),
                "onLimit": on_limit,
                "retryAfterMs": error.retry_after_ms,
            }
            self.headers |= rate_limit_headers(error)
        body = {
            "type": f"https://quotagate.dev/problems/{code}",
            "title": "The call is denied",
            "status": status,
            "code": code,
            "detail": detail,
            **{name: value for name, value in more.items() if value is not None},
        }
        self.status_code = status
        self.body = json.dumps(body).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*encoded(self.headers), (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


async def denied_handler(request: Any, error: Any) -> Any:
    """Answers a ``Denied`` or ``GatewayUnavailable`` that an endpoint does not catch.

    Example::

        app.add_exception_handler(Denied, denied_handler)
    """
    return DenialResponse(error)


class QuotagateMiddleware:
    """Reserves before each request, commits after a successful answer, and releases after an error.

    - ``user``: a function of the scope that returns the user's id; None lets the request through unmetered
    - ``event``: the event, or a function of the scope; None lets the request through unmetered
    - ``quantity``: a number above 0, or a function of the scope; default 1
    - ``metadata``: a function of the scope that returns metadata of the event
    - ``ttl_seconds``: 1 to 3600; the client extends the hold while the request takes longer

    Functions may be asynchronous. The application never sees a denied request: the middleware answers it with a
    ``DenialResponse``. The handler finds the reservation in ``request.state.quotagate``, to report actual usage. An
    answer of 400 and above, or an exception, releases the hold. If an exception follows after the answer has started,
    the middleware commits what was reported until then.

    Example::

        @app.post("/chat")
        async def chat(request: Request):
            answer = await llm(await request.json())
            request.state.quotagate.use(answer.tokens)
    """

    def __init__(
        self,
        app: Application,
        *,
        client: AsyncClient,
        user: FromScope[str | None],
        event: str | FromScope[str | None],
        quantity: Number | FromScope[Number] = 1,
        metadata: FromScope[Metadata | None] | None = None,
        ttl_seconds: int = 60,
    ) -> None:
        self.app = app
        self._client = client
        self._user = user
        self._event = event
        self._quantity = quantity
        self._metadata = metadata
        self._ttl_seconds = ttl_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        user, event = await value_of(self._user, scope), await value_of(self._event, scope)
        if user is None or event is None:
            await self.app(scope, receive, send)
            return
        work = self._client.reservation(
            user,
            event,
            await value_of(self._quantity, scope),
            await value_of(self._metadata, scope),
            ttl_seconds=self._ttl_seconds,
        )
        try:
            await work.__aenter__()
        except (Denied, GatewayUnavailable) as denied:
            await DenialResponse(denied)(scope, receive, send)
            return
        await self._metered(work, scope, receive, send)

    async def _metered(self, work: AsyncReservation, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                known = {name.lower() for name, _ in message.get("headers", [])}
                new = [pair for pair in encoded(rate_limit_headers(work.decision)) if pair[0] not in known]
                message = {**message, "headers": [*message.get("headers", []), *new]}
            await send(message)

        state = scope.setdefault("state", {})
        state["quotagate"] = work
        try:
            await self.app(scope, receive, watched)
        except BaseException as error:
            if 0 < status < 400 and work.used:
                await work.commit()
            else:
                await work.__aexit__(type(error), error, error.__traceback__)
            raise
        if not 0 < status < 400:
            await work.release(reason="error", error_code=str(status))
        else:
            await work.__aexit__(None, None, None)


async def value_of(value: Any, scope: Scope) -> Any:
    """The value, or the result of the function for this scope."""
    if callable(value):
        value = value(scope)
    return await value if inspect.isawaitable(value) else value


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
