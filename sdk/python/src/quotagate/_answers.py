"""Turns HTTP answers into results and errors."""

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
"""Codes of a 429 that means: too many reads or batches are running, retry later."""

LARGEST_ANSWER = 32 * 1024 * 1024
"""In bytes. The gateway never sends more."""

FIRST_WAIT, LONGEST_WAIT = 0.1, 3.0
"""Upper limits of the wait before the first retry and before any later one, in seconds."""

LONGEST_MESSAGE = 1_000
"""The longest message of an error, in characters, since messages are logged."""

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
    """An HTTP answer of the gateway."""

    status: int
    headers: Mapping[str, str]
    data: Any

    @property
    def rate_limit(self) -> dict[str, str]:
        return {name: self.headers[lower] for lower, name in RATE_LIMIT_HEADERS.items() if lower in self.headers}


def read(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Raises ``Malformed`` if a successful answer is not JSON."""
    if 200 <= status < 300:
        return Answer(status, headers, _json.decode(body) if body else None)
    return Answer(status, headers, _json_or_none(body))


def _json_or_none(body: bytes) -> Any:
    try:
        return _json.decode(body)
    except _json.Malformed:
        return None


def problem(answer: Answer) -> QuotagateError:
    """The error for an answer, which a proxy may have written instead of the gateway."""
    request_id = answer.headers.get("x-request-id")
    try:
        problem = Problem.from_json(answer.data)
    except _json.Malformed:
        return QuotagateError(
            code="unexpected_answer",
            message=f"HTTP {answer.status}, not from a quotagate gateway: check base_url",
            status=answer.status,
            request_id=request_id,
        )
    return QuotagateError(
        code=problem.code,
        message=problem.detail[:LONGEST_MESSAGE],
        status=answer.status,
        request_id=problem.request_id,
        errors=problem.errors,
    )


def overloaded(error: QuotagateError) -> GatewayUnavailable:
    """The error for a status that means: retry later."""
    code = "gateway_unavailable" if error.code == "unexpected_answer" else error.code
    return GatewayUnavailable(
        f"HTTP {error.status}" if code == "gateway_unavailable" else error.message,
        code=code,
        status=error.status,
        request_id=error.request_id,
    )


class Lines:
    """Splits the bytes of a stream of server-sent events into lines. Only a line feed ends a line, since JSON text may
    contain other separators."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, part: bytes) -> list[str]:
        """Returns the lines that end in this part. Raises ``Malformed`` if a line is too long."""
        self._rest += part
        if len(self._rest) > LARGEST_ANSWER:
            raise _json.Malformed("too large")
        if b"\n" not in part:
            return []
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        return [line.removesuffix(b"\r").decode(errors="replace") for line in lines]


class Event:
    """A server-sent event, read line by line."""

    def __init__(self) -> None:
        self.id: str | None = None
        self._lines: list[str] = []
        self._length = 0

    @property
    def data(self) -> str:
        return "\n".join(self._lines)

    def feed(self, line: str) -> bool:
        """Returns True at the end of the event, which is an empty line. Raises ``Malformed`` if it is too long."""
        name, _, value = line.partition(":")
        if name == "data":
            self._lines.append(value.removeprefix(" "))
            self._length += len(line)
            if self._length > LARGEST_ANSWER:
                raise _json.Malformed("too large")
        elif name == "id":
            self.id = value.removeprefix(" ")
        return not line


def is_busy(answer: Answer) -> bool:
    """True if the gateway runs too many reads or batches."""
    return answer.status == 429 and isinstance(answer.data, dict) and answer.data.get("code") in BUSY


def retry_after(headers: Mapping[str, str]) -> float:
    """The wait in seconds that the server requests, or 0."""
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
    """Seconds to wait after this many attempts: random, below a limit that grows exponentially, so that clients that
    failed together do not retry together."""
    return random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 16)))
