"""The middleware in a FastAPI application behind a real server."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from quotagate import AsyncClient, Client, Denied, LimitReached, rate_limit_headers
from quotagate.asgi import QuotagateMiddleware, denied_handler
from tests.gateway import Sandbox, group
from tests.proxy import Proxy, always
from tests.waiting import DEADLINE, eventually

Subscribed = Callable[..., str]

EVENTS = {"/images": "image.render", "/fails": "image.render", "/raises": "image.render", "/chat": "llm.tokens"}


def make(gate: AsyncClient) -> FastAPI:
    app = FastAPI()

    @app.post("/images")
    async def images(request: Request) -> dict[str, Any]:
        return {"reservation": request.state.quotagate.reservation_id}

    @app.post("/fails", status_code=502)
    async def fails() -> dict[str, str]:
        return {"error": "the model is down"}

    @app.post("/raises")
    async def raises() -> None:
        raise ValueError("a fault of the application")

    @app.post("/chat")
    async def chat(request: Request) -> StreamingResponse:
        work = request.state.quotagate
        breaks = "breaks" in request.query_params

        async def produce() -> AsyncIterator[str]:
            for _ in range(4):
                work.use(3)
                yield "tok "
            if breaks:
                raise ValueError("in the middle")

        return StreamingResponse(produce())

    @app.post("/own")
    async def own(request: Request) -> str:
        async with gate.reservation(request.headers["x-user"], "image.render", 50):
            return "never"

    @app.get("/free")
    async def free(request: Request) -> bool:
        return hasattr(request.state, "quotagate")

    async def event(scope: Any) -> str | None:
        return EVENTS.get(scope["path"])

    def user(scope: Any) -> str | None:
        return next((value.decode() for name, value in scope["headers"] if name == b"x-user"), None)

    app.add_exception_handler(Denied, denied_handler)
    app.add_middleware(
        QuotagateMiddleware,
        client=gate,
        user=user,
        event=event,
        quantity=lambda scope: 10 if scope["path"] == "/chat" else 1,
        metadata=lambda scope: {"path": scope["path"]},
    )
    return app


class Served:
    """The application in a thread. Its client belongs to the event loop of that thread."""

    def __init__(self, gate: AsyncClient) -> None:
        config = uvicorn.Config(make(gate), port=0, log_level="critical", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._gate = gate
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        eventually("the server to start", lambda: self._server.started)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE)

    def _run(self) -> None:
        import asyncio

        async def serve() -> None:
            async with self._gate:
                await self._server.serve()

        asyncio.run(serve())

    def stop(self) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(DEADLINE)


@pytest.fixture
def served(sandbox: Sandbox) -> Iterator[Served]:
    served = Served(sandbox.async_client())
    yield served
    served.stop()


def settled(client: Client, user: str, used: int) -> bool:
    """Waits for the commit, which follows the end of the answer."""

    def is_settled() -> bool:
        counter = client.usage(user).counters[0]
        return (counter.held, counter.used) == (0, used)

    eventually(f"{used} used and nothing held", is_settled)
    return True


def test_requests_are_metered(client: Client, served: Served, subscribed: Subscribed) -> None:
    user = subscribed(group(100, onLimit={"message": "All used"}))
    headers = {"x-user": user}
    answer = served.http.post("/images", headers=headers)
    assert answer.status_code == 200
    assert answer.json()["reservation"].startswith("rsv_")
    assert answer.headers["x-ratelimit-remaining"] == "99"
    assert "ratelimit-policy" in answer.headers
    assert settled(client, user, 1)
    assert served.http.post("/fails", headers=headers).status_code == 502
    assert settled(client, user, 1)
    assert served.http.post("/raises", headers=headers).status_code == 500
    assert settled(client, user, 1)
    assert served.http.post("/chat", headers=headers).text == "tok " * 4
    assert settled(client, user, 13)
    with pytest.raises(httpx.RemoteProtocolError):
        served.http.post("/chat?breaks", headers=headers)
    assert settled(client, user, 25)
    assert client.reserve(user, "image.render", 75).allowed
    denied = served.http.post("/images", headers=headers)
    assert denied.status_code == 429
    assert denied.headers["content-type"] == "application/problem+json"
    problem = denied.json()
    assert (problem["code"], problem["reasons"], problem["onLimit"]) == (
        "limit_reached",
        ["limit_reached"],
        {"message": "All used"},
    )
    assert denied.headers["x-ratelimit-remaining"] == "0"


def test_a_denial_inside_a_handler(served: Served, subscribed: Subscribed) -> None:
    user = subscribed(group(20))
    denied = served.http.post("/own", headers={"x-user": user})
    assert (denied.status_code, denied.json()["code"]) == (429, "limit_reached")


def test_a_request_without_user_or_event_passes(served: Served) -> None:
    assert served.http.get("/free").json() is False
    assert served.http.post("/fails").status_code == 502


def test_a_gateway_that_is_down_denies_with_503(sandbox: Sandbox, subscribed: Subscribed) -> None:
    user = subscribed(group(20))
    with Proxy(sandbox.gateway.url, always("unavailable")) as proxy:
        served = Served(sandbox.async_client(base_url=proxy.url, retries=0))
        denied = served.http.post("/images", headers={"x-user": user})
        served.stop()
    assert (denied.status_code, denied.json()["code"]) == (503, "gateway_unavailable")


def test_rate_limit_headers(client: Client, subscribed: Subscribed) -> None:
    unmetered = subscribed(group(1, event="other"), unmatchedEvents="allow")
    assert rate_limit_headers(client.reserve(unmetered, "image.render")) == {}
    user = subscribed(group(3))
    allowed = rate_limit_headers(client.reserve(user, "image.render", 3))
    assert set(allowed) == {
        "RateLimit-Policy",
        "RateLimit",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    }
    assert (allowed["X-RateLimit-Limit"], allowed["X-RateLimit-Remaining"]) == ("3", "0")
    denied = client.reserve(user, "image.render")
    assert denied.retry_after_ms is not None
    assert int(rate_limit_headers(denied)["Retry-After"]) == -(-denied.retry_after_ms // 1000)
    assert rate_limit_headers(LimitReached(denied)) == rate_limit_headers(denied)
