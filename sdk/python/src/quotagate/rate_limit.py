"""Rate limit headers for the answers of the application."""

from __future__ import annotations

from quotagate.errors import Denied
from quotagate.results import Decision


def rate_limit_headers(source: Decision | Denied) -> dict[str, str]:
    """The rate limit headers for an answer to an end user: ``RateLimit-Policy``, ``RateLimit``, ``X-RateLimit-Limit``,
    ``-Remaining``, ``-Reset`` (epoch seconds), and ``Retry-After`` (seconds) on a denial that ends by itself. What
    remains includes the balance onto which a group overflows. A group without quota left is not in them if the call
    did not need its balance. Empty if nothing was metered.

    Example::

        r = client.reserve("u_42", "image.render")
        if not r.allowed:
            return Response("Too many images", status=429, headers=rate_limit_headers(r))
    """
    decision = source.decision if isinstance(source, Denied) else source
    headers = dict(decision.rate_limit)
    if not decision.allowed and decision.retry_after_ms is not None:
        # Rounded up: an earlier retry would be denied again.
        headers.setdefault("Retry-After", str(-(-decision.retry_after_ms // 1000)))
    return headers
