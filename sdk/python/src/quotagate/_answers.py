"""From an HTTP answer to a result or an error."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quotagate import _json
from quotagate.errors import GatewayUnavailable, QuotagateError
from quotagate.models import Problem

RETRIED = frozenset({502, 503, 504})

BUSY = frozenset({"too_many_reads", "too_many_streams", "too_many_whatifs", "too_many_batches"})
"""Codes of a 429 that says: too many reads or batches are under way, retry later."""

LARGEST_ANSWER = 32 * 1024 * 1024
"""In bytes. Whoever sends more is not the gateway."""

FIRST_WAIT, LONGEST_WAIT = 0.1, 3.0
"""Upper bounds of the wait before the first and any later repetition, in seconds."""

LONGEST_MESSAGE = 1_000
"""In characters, of an error's message: it ends in logs."""

RATE_LIMIT_HEADERS = {
    "ratelimit-policy": "RateLimit-Policy",
    "ratelimit": "RateLimit",
    "x-ratelimit-limit": "X-RateLimit-Limit",
    "x-ratelimit-remaining": "X-RateLimit-Remaining",
    "x-ratelimit-reset": "X-RateLimit-Reset",
    "retry-after": "Retry-After",
}


@dataclass(frozen=True)
class Answer:
    """A status that is no failure of the way there, with what came along."""

    status: int
    headers: Mapping[str, str]
    data: Any

    @property
    def rate_limit(self) -> dict[str, str]:
        return {name: self.headers[lower] for lower, name in RATE_LIMIT_HEADERS.items() if lower in self.headers}


def read(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Raises ``Malformed`` if a success carries no JSON."""
    if 200 <= status < 300:
        return Answer(status, headers, _json.decode(body) if body else None)
    return Answer(status, headers, _quietly(body))


def _quietly(body: bytes) -> Any:
    try:
        return _json.decode(body)
    except _json.Malformed:
        return None


def problem(answer: Answer) -> QuotagateError:
    """The error that an answer tells, whoever wrote it."""
    request_id = answer.headers.get("x-request-id")
    try:
        told = Problem.from_json(answer.data)
    except _json.Malformed:
        return QuotagateError(
            code="unexpected_answer",
            message=f"status {answer.status}, and not from a gateway: is base_url right?",
            status=answer.status,
            request_id=request_id,
        )
    return QuotagateError(
        code=told.code,
        message=told.detail[:LONGEST_MESSAGE],
        status=answer.status,
        request_id=told.request_id,
        errors=told.errors,
    )


def overloaded(error: QuotagateError) -> GatewayUnavailable:
    """The same for a status that says: not now."""
    code = "gateway_unavailable" if error.code == "unexpected_answer" else error.code
    return GatewayUnavailable(
        f"status {error.status}" if code == "gateway_unavailable" else error.message,
        code=code,
        status=error.status,
        request_id=error.request_id,
    )


class Lines:
    """The lines of a stream of server-sent events, out of its bytes. They end with a line feed and with nothing else: a
    text in JSON may contain every other separator."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, part: bytes) -> list[str]:
        """The lines that end in this part. Raises ``Malformed`` if one is too long."""
        self._rest += part
        if len(self._rest) > LARGEST_ANSWER:
            raise _json.Malformed("too large")
        if b"\n" not in part:
            return []
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        return [line.removesuffix(b"\r").decode(errors="replace") for line in lines]


def is_busy(answer: Answer) -> bool:
    """Too many reads or batches are under way at the gateway."""
    return answer.status == 429 and isinstance(answer.data, dict) and answer.data.get("code") in BUSY


def retry_after(headers: Mapping[str, str]) -> float:
    """How many seconds the server asks to wait; 0 if it does not say."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def backoff(attempt: int) -> float:
    """Seconds to wait after so many attempts: exponential, anywhere below the bound, so that clients that failed
    together don't come back together."""
    return random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 16)))
