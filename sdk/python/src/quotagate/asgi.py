"""Metering of FastAPI, Starlette and other ASGI applications. Needs none of them.

Example::

    app = FastAPI()
    app.add_exception_handler(LimitReached, limit_reached_handler)
    app.add_middleware(
        QuotagateMiddleware,
        client=AsyncClient(api_key=os.environ["QG_KEY"]),
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
from quotagate.errors import LimitReached
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
    """An ASGI application that answers with a denial: 429 (503 if the gateway could not be asked), the rate limit
    headers and ``application/problem+json`` with ``code``, ``detail``, ``reasons`` and what ``onLimit`` says.

    Example::

        await DenialResponse(error)(scope, receive, send)
    """

    def __init__(self, error: LimitReached) -> None:
        decision = error.decision
        body = {
            "type": f"https://quotagate.dev/problems/{error.code}",
            "title": "The call is denied",
            "status": error.status,
            "code": error.code,
            "detail": error.message,
            "reasons": list(decision.reasons),
            "onLimit": decision.on_limit,
            "retryAfterMs": decision.retry_after_ms,
        }
        self.status_code = error.status
        self.body = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        self.headers = {"content-type": "application/problem+json", **rate_limit_headers(error)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*encoded(self.headers), (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


async def limit_reached_handler(request: Any, error: Any) -> Any:
    """For ``app.add_exception_handler(LimitReached, limit_reached_handler)``: an endpoint may let ``LimitReached`` go.

    Example::

        app.add_exception_handler(LimitReached, limit_reached_handler)
    """
    return DenialResponse(error)


class QuotagateMiddleware:
    """Reserves before a request is handled, commits if its answer is a success, releases if it is an error.

    - ``user``: from the scope to the user's id; None passes the request unmetered
    - ``event``: the event, or from the scope to it; None passes the request unmetered
    - ``quantity``: likewise; more than 0, default 1
    - ``metadata``: from the scope to facts about the event
    - ``ttl_seconds``: 1 to 3600; the hold is extended while the request takes longer

    Callables may be asynchronous. A denied request never reaches the application and is answered with a
    ``DenialResponse``. The handler finds the reservation in ``request.state.quotagate``, to report what was really
    used. An answer of 400 and above, or an exception, gives back what is held; an exception after an answer has begun
    settles what was reported until then.

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
        user, event = await asked(self._user, scope), await asked(self._event, scope)
        if user is None or event is None:
            await self.app(scope, receive, send)
            return
        work = self._client.reservation(
            user,
            event,
            await asked(self._quantity, scope),
            await asked(self._metadata, scope),
            ttl_seconds=self._ttl_seconds,
        )
        try:
            await work.__aenter__()
        except LimitReached as denied:
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


async def asked(value: Any, scope: Scope) -> Any:
    """What it is, or what it says of the scope."""
    if callable(value):
        value = value(scope)
    return await value if inspect.isawaitable(value) else value


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
