"""Usage as server-sent events. A lost stream is opened again."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx

from quotagate import _answers, _json
from quotagate._async import runtime
from quotagate._async.transport import AsyncTransport
from quotagate.results import Usage

SILENCE = 45.0
"""In seconds. The gateway sends something every 15 s, so a stream that is silent for longer is dead."""


async def watch(transport: AsyncTransport, user_id: str, event: str | None) -> AsyncGenerator[Usage, None]:
    """Yields the usage after each change."""
    options = transport.options
    params = {"userId": user_id} if event is None else {"userId": user_id, "event": event}
    last: Usage | None = None
    failures = 0
    while True:
        requested_wait = 0.0
        try:
            async with transport.http.stream(
                "GET",
                transport.url("usage/stream"),
                params=params,
                headers={**options.headers, "accept": "text/event-stream"},
                timeout=httpx.Timeout(options.timeout, read=SILENCE),
                follow_redirects=False,
            ) as response:
                if response.status_code != 200:
                    body = bytearray()
                    async for part in response.aiter_bytes():
                        body += part
                        if len(body) > _answers.LARGEST_ANSWER:
                            raise _json.Malformed("too large")
                    answer = _answers.read(response.status_code, response.headers, options.redacted(body))
                    if response.status_code < 500 and not _answers.is_busy(answer):
                        raise _answers.problem(answer)
                    requested_wait = _answers.retry_after(response.headers)
                else:
                    lines, data, length = _answers.Lines(), list[str](), 0
                    async for part in response.aiter_bytes():
                        for line in lines.feed(part):
                            # An event ends with an empty line; comments keep the connection alive.
                            if line.startswith("data:"):
                                data.append(line[5:].removeprefix(" "))
                                length += len(line)
                                if length > _answers.LARGEST_ANSWER:
                                    raise _json.Malformed("too large")
                            elif not line and data:
                                usage = Usage.from_json(_json.decode("\n".join(data)))
                                data.clear()
                                length = failures = 0
                                if usage != last:
                                    last = usage
                                    yield usage
        except (httpx.TransportError, httpx.DecodingError, _json.Malformed):
            pass
        failures += 1
        await runtime.sleep(max(requested_wait, _answers.backoff(failures)))
