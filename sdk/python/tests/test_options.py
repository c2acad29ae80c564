"""Options are checked before the first call, and keys are never shown."""

from __future__ import annotations

import logging
import pickle
import socket
import traceback
from decimal import Decimal
from typing import Any

import httpx
import pytest

from quotagate import AsyncClient, Client, Denied, GatewayUnavailable, LimitReached, QuotagateError
from quotagate.models import FieldError
from tests.gateway import PATIENT, Sandbox
from tests.proxy import Proxy, always

KEY = "sk_test_0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": ""},
        {"api_key": "sk_test_a b"},
        {"api_key": "sk_test_\n"},
        {"api_key": "sk_tést"},
        {"api_key": None},
        {"base_url": "127.0.0.1:8080"},
        {"base_url": "ftp://127.0.0.1"},
        {"base_url": "http://user:secret@127.0.0.1"},
        {"base_url": "http://127.0.0.1:port"},
        {"base_url": "http://127.0.0.1/?a=b"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"deadline": -1},
        {"retries": -1},
        {"retries": True},
        {"on_unavailable": "maybe"},
        {"mode": "test/a b"},
        {"app": ""},
        {"user_token": "\r"},
    ],
    ids=str,
)
def test_invalid_options_are_refused(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUOTAGATE_KEY", raising=False)
    for kind in (Client, AsyncClient):
        with pytest.raises(QuotagateError) as refused:
            kind(**{"api_key": KEY, **options})
        assert (refused.value.code, refused.value.status) == ("invalid_options", 400)
        assert "secret" not in str(refused.value)


def test_the_address_and_the_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUOTAGATE_URL", raising=False)
    with Client(api_key=KEY) as client:
        assert repr(client) == "Client(base_url='http://127.0.0.1:8080')"
    monkeypatch.setenv("QUOTAGATE_URL", "https://quota.example.com/gate/")
    with Client(api_key=KEY) as client:
        assert client._core.transport.url("usage") == "https://quota.example.com/gate/api/v1/usage"
    with Client(api_key=KEY, base_url="http://10.0.0.1:80") as client:
        assert repr(client) == "Client(base_url='http://10.0.0.1:80')"
    monkeypatch.setenv("QUOTAGATE_KEY", KEY)
    with Client() as client:
        assert client._core.options.headers["authorization"] == f"Bearer {KEY}"
    with Client(api_key="sk_test_other") as client:
        assert client._core.options.headers["authorization"] == "Bearer sk_test_other"
    monkeypatch.delenv("QUOTAGATE_KEY")
    with pytest.raises(QuotagateError, match="QUOTAGATE_KEY"):
        Client()


def shown(error: BaseException) -> str:
    text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return text + repr(error) + str(error)


def test_no_key_is_ever_shown(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    errors: list[QuotagateError] = []
    with caplog.at_level(logging.DEBUG):
        for fault in ("pass", "garbage", "cut_before", "unavailable", "half"):
            with (
                Proxy(sandbox.gateway.url, always(fault)) as proxy,
                Client(api_key=KEY, base_url=proxy.url, retries=1, **PATIENT) as client,
            ):
                assert KEY not in repr(client)
                assert KEY not in repr(client._core.options)
                with pytest.raises(QuotagateError) as failed:
                    client.usage("u_42")
                errors.append(failed.value)
        # Bound, so that no other process takes the port, and not listening.
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            with Client(api_key=KEY, base_url=f"http://127.0.0.1:{port}", retries=0) as client:
                with pytest.raises(GatewayUnavailable) as failed_2:
                    client.usage("u_42")
                errors.append(failed_2.value)
                for call in (
                    lambda: client.commit("rsv", idempotency_key="a\nb"),
                    lambda: client.commit("rsv", idempotency_key=""),
                    lambda: next(client.admin.follow_events(after="a\nb")),
                    lambda: client.track("u", "e", float("nan")),
                    lambda: client.track("u", "e", 1, {"bad": object()}),
                ):
                    with pytest.raises(QuotagateError) as failed_3:
                        call()
                    assert (failed_3.value.code, failed_3.value.status) == ("invalid_request", 400)
                    errors.append(failed_3.value)
    assert errors[0].code == "invalid_key"
    for error in errors:
        assert KEY not in str(error) + repr(error)
        assert error.__cause__ is None
    # Error reporters show local variables: only headers that are being sent may contain the key.
    assert KEY not in caplog.text


def test_applications_can_raise_and_pickle_errors() -> None:
    made = QuotagateError(
        code="quota_of_ours", message="No", status=429, errors=[FieldError(field="a", message="wrong")]
    )
    copied = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own bytes
    assert (copied.code, copied.message, copied.status, copied.errors) == ("quota_of_ours", "No", 429, made.errors)
    assert str(copied) == "quota_of_ours: No"
    assert issubclass(LimitReached, Denied)
    assert issubclass(Denied, QuotagateError)
    with pytest.raises(Exception, match="No"):
        raise made


def test_an_http_client_of_the_application(sandbox: Sandbox) -> None:
    with httpx.Client() as http:
        with sandbox.client(http=http) as client:
            assert client.can("u", "e", Decimal("1")) is False
        assert not http.is_closed
    with sandbox.client(base_url=sandbox.gateway.url + "/elsewhere") as client:
        with pytest.raises(QuotagateError) as wrong:
            client.usage("u")
        assert wrong.value.status == 404
