"""The options of a client, checked before the first call."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from quotagate.errors import QuotagateError

OnUnavailable: TypeAlias = Literal["deny", "allow"]
"""The answer of ``reserve`` and ``can_use`` when the gateway cannot be reached within the deadline:

- ``"deny"``: ``allowed`` is False, with the reason ``gateway_unavailable``
- ``"allow"``: ``allowed`` is True, without a reservation

Both are marked ``degraded``.
"""

DEFAULT_URL = "http://127.0.0.1:8080"


def invalid(message: str) -> QuotagateError:
    return QuotagateError(code="invalid_options", message=message, status=400)


def checked_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - reading the port checks it
    except ValueError:
        raise invalid(f"base_url must be a URL such as {DEFAULT_URL}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise invalid("base_url must begin with http:// or https:// and name a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise invalid("base_url must not contain a user name, password, query or fragment")
    return text.rstrip("/")


def checked_header(name: str, value: object) -> str:
    """Checks a header's value here, since a later error would show it."""
    if not isinstance(value, str) or not value or not all("\x21" <= letter <= "\x7e" for letter in value):
        raise invalid(f"{name} must be printable ASCII characters without spaces")
    return value


def at_least(name: str, value: float, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < least:
        raise invalid(f"{name} must be a number of at least {least}")
    return value


SECRETS = ("authorization", "x-user-token")
"""Headers whose values must not appear in errors."""


@dataclass(frozen=True)
class Options:
    """The checked options, with all defaults."""

    base_url: str
    timeout: float
    deadline: float
    retries: int
    on_unavailable: OnUnavailable
    throw_on_deny: bool
    # Not in the repr: one of them contains the key.
    headers: dict[str, str] = field(repr=False)

    def redacted(self, body: bytes | bytearray) -> bytes:
        """Removes the client's secrets from the body of an error: a proxy may have sent them back."""
        for name in SECRETS:
            secret = self.headers.get(name, "").removeprefix("Bearer ")
            if secret:
                body = body.replace(secret.encode(), b"[key]")
        return bytes(body)

    @classmethod
    def of(
        cls,
        *,
        api_key: str | None,
        base_url: str | None,
        timeout: float,
        deadline: float,
        retries: int,
        on_unavailable: OnUnavailable,
        throw_on_deny: bool,
        mode: str | None,
        app: str | None,
        user_token: str | None,
    ) -> Options:
        key = api_key if api_key is not None else os.environ.get("QUOTAGATE_KEY")
        if not key:
            raise invalid("api_key is missing: pass it, or set QUOTAGATE_KEY")
        headers = {
            "authorization": f"Bearer {checked_header('api_key', key)}",
            "accept": "application/json",
        }
        for name, header, value in (
            ("mode", "x-mode", mode),
            ("app", "x-app", app),
            ("user_token", "x-user-token", user_token),
        ):
            if value is not None:
                headers[header] = checked_header(name, value)
        if on_unavailable not in ("deny", "allow"):
            raise invalid('on_unavailable must be "deny" or "allow"')
        return cls(
            base_url=checked_url(base_url or os.environ.get("QUOTAGATE_URL") or DEFAULT_URL),
            timeout=at_least("timeout", timeout, 0.001),
            deadline=at_least("deadline", deadline, 0.001),
            retries=int(at_least("retries", retries, 0)),
            on_unavailable=on_unavailable,
            throw_on_deny=throw_on_deny,
            headers=headers,
        )
