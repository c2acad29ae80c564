"""Answers that are not from the gateway: endless ones, and ones that contain the client's secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from quotagate import Client, GatewayUnavailable, QuotagateError
from quotagate._sync import runtime
from tests.gateway import PATIENT

KEY = "sk_test_0123456789abcdef0123456789abcdef"
TOKEN = "fedcba9876543210fedcba9876543210"  # noqa: S105 - not a real key
MEBIBYTE = b"x" * 1024 * 1024


class Endless(httpx.SyncByteStream):
    """An endless body that counts what is read."""

    def __init__(self, begin: bytes, every: bytes = b"") -> None:
        self.pieces = 0
        self._begin = begin
        self._every = every

    def __iter__(self) -> Iterator[bytes]:
        yield self._begin
        while True:
            self.pieces += 1
            # Ends the test if the client has no limit.
            assert self.pieces <= 100, "it was read on"
            yield self._every + MEBIBYTE


def client_of(handler: httpx.MockTransport, user_token: str | None = None) -> Client:
    return Client(api_key=KEY, user_token=user_token, retries=0, http=httpx.Client(transport=handler), **PATIENT)


@pytest.mark.parametrize("status", [200, 400, 503])
def test_an_endless_answer_is_cut_off(status: int) -> None:
    endless = Endless(b'{"counters":"')
    client = client_of(httpx.MockTransport(lambda _: httpx.Response(status, stream=endless)))
    with client, pytest.raises(GatewayUnavailable, match="too large"):
        client.usage("u_42")
    assert endless.pieces <= 33


class Again(Exception):
    """The client would open the stream again."""


@pytest.mark.parametrize(
    ("status", "begin", "every"), [(200, b"data: ", b""), (200, b"", b"\ndata: "), (400, b"{", b"")], ids=str
)
def test_a_stream_with_an_endless_event_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, status: int, begin: bytes, every: bytes
) -> None:
    def again(_: float) -> None:
        raise Again

    monkeypatch.setattr(runtime, "sleep", again)
    endless = Endless(begin, every)
    client = client_of(httpx.MockTransport(lambda _: httpx.Response(status, stream=endless)))
    with client, pytest.raises(Again):
        next(client.watch_usage("u_42"))
    assert endless.pieces <= 33


def test_a_label_may_contain_every_separator_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(_: float) -> None:
        raise Again

    monkeypatch.setattr(runtime, "sleep", again)
    user = "a\u2028b\u0085c\x0bd"
    usage: dict[str, Any] = {"userId": user, "planId": None, "counters": []}
    event = f"event: usage\r\ndata: {json.dumps(usage, ensure_ascii=False)}\r\n\r\n".encode()
    with client_of(httpx.MockTransport(lambda _: httpx.Response(200, content=event))) as client:
        assert next(client.watch_usage("u_42")).user_id == user


@pytest.mark.parametrize("status", [400, 401, 500, 503])
def test_secrets_in_answers_are_not_shown(status: int) -> None:
    problem = {
        "type": "about:blank",
        "title": "Echo",
        "status": status,
        "code": f"echo_{TOKEN}",
        "detail": f"You sent {KEY} and {TOKEN}. " + "x" * 5_000,
        "requestId": KEY,
    }
    client = client_of(httpx.MockTransport(lambda _: httpx.Response(status, json=problem)), TOKEN)
    with client, pytest.raises(QuotagateError) as failed:
        client.usage("u_42")
    shown = repr(vars(failed.value)) + str(failed.value)
    assert "[key]" in shown
    assert KEY not in shown
    assert TOKEN not in shown
    assert len(failed.value.message) <= 1_000
