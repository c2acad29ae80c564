# Generated from ../_async/streams.py by tools/generate_sync.py; do not edit.
"""Streams of the gateway: server-sent events. A lost stream is opened again."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, TypeVar

import httpx

from quotagate import _answers, _json
from quotagate._calls import checked_header
from quotagate._sync import runtime
from quotagate._sync.transport import Transport

SILENCE = 45.0
"""In seconds. The gateway sends something every 15 s, so a stream that is silent for longer is dead."""

M = TypeVar("M", bound=_json.Model)


def follow(
    transport: Transport,
    kind: type[M],
    path: str,
    query: Mapping[str, Any],
    *,
    after: str | None = None,
    changes_only: bool = False,
) -> Generator[M, None]:
    """Yields the events of a stream as models. A new connection continues after the last event, if events have ids.
    With ``changes_only`` the same state is never yielded twice in a row."""
    options = transport.options
    if after is not None:
        checked_header("after", after)
    params = {name: value for name, value in query.items() if value is not None}
    last: M | None = None
    failures = 0
    while True:
        requested_wait = 0.0
        resume = {} if after is None else {"last-event-id": after}
        try:
            with transport.http.stream(
                "GET",
                transport.url(path),
                params=params,
                headers={**options.headers, **resume, "accept": "text/event-stream"},
                timeout=httpx.Timeout(options.timeout, read=SILENCE),
                follow_redirects=False,
            ) as response:
                if response.status_code != 200:
                    body = bytearray()
                    for part in response.iter_bytes():
                        body += part
                        if len(body) > _answers.LARGEST_ANSWER:
                            raise _json.Malformed("too large")
                    answer = _answers.read(response.status_code, response.headers, options.redacted(body))
                    if response.status_code < 500 and not _answers.is_busy(answer):
                        raise _answers.problem(answer)
                    requested_wait = _answers.retry_after(response.headers)
                else:
                    lines, event = _answers.Lines(), _answers.Event()
                    for part in response.iter_bytes():
                        for line in lines.feed(part):
                            if not event.feed(line):
                                continue
                            data, event_id = event.data, event.id
                            event = _answers.Event()
                            model = kind.from_json(_json.decode(data)) if data else None
                            after = event_id or after
                            if model is None:
                                continue
                            failures = 0
                            if not changes_only or model != last:
                                last = model
                                yield model
        except (httpx.TransportError, httpx.DecodingError, _json.Malformed):
            pass
        failures += 1
        runtime.sleep(max(requested_wait, _answers.backoff(failures)))
