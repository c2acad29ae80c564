"""Sends one call to the gateway: attempts, waits, and the deadline of the whole call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from quotagate import _answers, _json
from quotagate._answers import Answer
from quotagate._async import runtime
from quotagate._calls import checked_key, encoded
from quotagate._tls import shared_context
from quotagate.errors import GatewayUnavailable, QuotagateError
from quotagate.options import Options


def path_of(*parts: str) -> str:
    """A path in which each id is one segment, whatever it contains."""
    return "/".join(quote(part, safe="") for part in parts)


@dataclass(frozen=True)
class Call:
    """A call to the gateway."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    """None: the transport creates one, and sends it with every attempt."""
    accept: tuple[int, ...] = ()
    """Statuses other than 2xx that are answers, not errors."""

    @property
    def deletes(self) -> bool:
        """True if the call deletes what its path names."""
        return self.method == "DELETE" and self.body is None


class AsyncTransport:
    """Sends calls and retries them. All attempts of a write carry the same idempotency key."""

    def __init__(self, options: Options, http: httpx.AsyncClient | None) -> None:
        self.options = options
        self._own = http is None
        # Without a limit of connections: the application decides how many calls run at a time.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        self.http = http if http is not None else httpx.AsyncClient(limits=limits, verify=shared_context())

    async def aclose(self) -> None:
        if self._own:
            await self.http.aclose()

    def url(self, path: str) -> str:
        return f"{self.options.base_url}/api/v1/{path}"

    async def send(self, call: Call, *, deadline: float | None = None, retries: int | None = None) -> Answer:
        """Returns the gateway's answer, or raises ``GatewayUnavailable`` after ``deadline`` seconds."""
        ends = time.monotonic() + (self.options.deadline if deadline is None else deadline)
        attempts = 1 + (self.options.retries if retries is None else retries)
        content = encoded(call.body)
        headers = {**self.options.headers, **call.headers}
        if content is not None:
            headers["content-type"] = "application/json"
        if call.method != "GET":
            headers["idempotency-key"] = checked_key(call.idempotency_key)
        attempt = 0
        while True:
            attempt += 1
            requested_wait = 0.0
            failure: QuotagateError
            limit = min(self.options.timeout, max(ends - time.monotonic(), 0.001))
            try:
                status, received, body = await self._attempt(call, headers, content, limit)
                if status not in _answers.RETRIED:
                    answer = _answers.read(status, received, body)
                    if 200 <= status < 300 or status in call.accept:
                        return answer
                    if status == 404 and attempt > 1 and call.deletes:
                        # An earlier attempt deleted it, but its answer was lost. Deletions have no stored answers.
                        return answer
                    failure = _answers.problem(answer)
                    if not _answers.is_busy(answer):
                        raise failure
                else:
                    failure = _answers.overloaded(_answers.problem(_answers.read(status, received, body)))
                requested_wait = _answers.retry_after(received)
            except httpx.InvalidURL:
                raise QuotagateError(code="invalid_request", message="an id is too long", status=400) from None
            except (httpx.TransportError, httpx.DecodingError) as fault:
                # The fault itself refers to the request with its headers, which contain the key.
                failure = GatewayUnavailable(f"{type(fault).__name__}: {fault}".rstrip(": "))
            except _json.Malformed as fault:
                failure = GatewayUnavailable(f"the answer cannot be read: {fault}")
            wait = max(requested_wait, _answers.backoff(attempt))
            if attempt >= attempts or time.monotonic() + wait >= ends:
                raise failure
            await runtime.sleep(wait)

    async def _attempt(
        self, call: Call, headers: Mapping[str, str], content: bytes | None, limit: float
    ) -> tuple[int, httpx.Headers, bytes]:
        ends = time.monotonic() + limit
        request = self.http.build_request(
            call.method,
            self.url(call.path),
            params={name: value for name, value in call.query.items() if value is not None},
            headers=dict(headers),
            content=content,
            timeout=limit,
        )
        response = await self.http.send(request, stream=True, follow_redirects=False)
        try:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                # The limit of httpx is for each read; this one is for the whole attempt.
                if time.monotonic() > ends:
                    raise httpx.ReadTimeout("the answer takes too long", request=request)
                if len(body) > _answers.LARGEST_ANSWER:
                    raise _json.Malformed("too large")
            # The answer to a batch can contain problems, too.
            is_error = response.status_code >= 300 or call.path == "batch"
            return response.status_code, response.headers, self.options.redacted(body) if is_error else bytes(body)
        finally:
            await response.aclose()
