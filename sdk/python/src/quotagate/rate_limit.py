"""Rate limit headers for the application's own answers."""

from __future__ import annotations

from quotagate.errors import LimitReached
from quotagate.results import Decision


def rate_limit_headers(told: Decision | LimitReached) -> dict[str, str]:
    """The headers that tell an end user's client where it stands: ``RateLimit-Policy``, ``RateLimit``,
    ``X-RateLimit-Limit``, ``-Remaining``, ``-Reset`` (epoch seconds), and ``Retry-After`` (seconds) on a denial that
    time will lift. Empty if nothing was metered.

    Example::

        r = client.reserve("u_42", "image.render")
        if not r.allowed:
            return Response("Too many images", status=429, headers=rate_limit_headers(r))
    """
    decision = told.decision if isinstance(told, LimitReached) else told
    headers = dict(decision.rate_limit)
    if not decision.allowed and decision.retry_after_ms is not None:
        # Never so early that it would be denied again.
        headers.setdefault("Retry-After", str(-(-decision.retry_after_ms // 1000)))
    return headers
