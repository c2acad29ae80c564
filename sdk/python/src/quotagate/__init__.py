"""Client of the quotagate quota gateway: reserve, commit, release.

Example::

    from quotagate import Client

    # QUOTAGATE_URL and QUOTAGATE_KEY say where the gateway is, and with which key.
    with Client() as client:
        with client.reservation("u_42", "image.render"):
            render()
"""

from quotagate._async.client import AsyncClient
from quotagate._batch import BatchResult, Operation
from quotagate._json import Amount, Number
from quotagate._sync.client import Client
from quotagate._undelivered import Undelivered
from quotagate.errors import (
    ApprovalRequired,
    CallTooLarge,
    Denied,
    GatewayUnavailable,
    LimitReached,
    MissingScope,
    NotSubscribed,
    QuotagateError,
    UncoveredEvent,
    UnmatchedEvent,
    UserBlocked,
)
from quotagate.options import OnUnavailable
from quotagate.rate_limit import rate_limit_headers
from quotagate.results import (
    CanUse,
    Counter,
    Decision,
    DenialReason,
    Fallback,
    Metadata,
    OnLimit,
    Plan,
    Settlement,
    Subscription,
    Tracked,
    Usage,
)
from quotagate.user_token import user_token

__all__ = [
    "Amount",
    "ApprovalRequired",
    "AsyncClient",
    "BatchResult",
    "CallTooLarge",
    "CanUse",
    "Client",
    "Counter",
    "Decision",
    "DenialReason",
    "Denied",
    "Fallback",
    "GatewayUnavailable",
    "LimitReached",
    "Metadata",
    "MissingScope",
    "NotSubscribed",
    "Number",
    "OnLimit",
    "OnUnavailable",
    "Operation",
    "Plan",
    "QuotagateError",
    "Settlement",
    "Subscription",
    "Tracked",
    "UncoveredEvent",
    "Undelivered",
    "UnmatchedEvent",
    "Usage",
    "UserBlocked",
    "rate_limit_headers",
    "user_token",
]
