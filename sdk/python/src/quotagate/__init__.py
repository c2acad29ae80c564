"""Client of the quotagate quota gateway: reserve, commit, release.

Example::

    from quotagate import Client

    with Client(api_key=os.environ["QG_KEY"]) as client:
        with client.reservation("u_42", "image.render"):
            render()
"""

from quotagate._async.client import AsyncClient
from quotagate._batch import BatchResult, Operation
from quotagate._json import Amount, Number
from quotagate._sync.client import Client
from quotagate._undelivered import Undelivered
from quotagate.errors import GatewayUnavailable, LimitReached, QuotagateError
from quotagate.options import OnUnavailable
from quotagate.rate_limit import rate_limit_headers
from quotagate.results import (
    CanUse,
    Counter,
    Decision,
    DenialReason,
    Fallback,
    Metadata,
    Plan,
    Settlement,
    Subscription,
    Tracked,
    Usage,
)
from quotagate.user_token import user_token

__all__ = [
    "Amount",
    "AsyncClient",
    "BatchResult",
    "CanUse",
    "Client",
    "Counter",
    "Decision",
    "DenialReason",
    "Fallback",
    "GatewayUnavailable",
    "LimitReached",
    "Metadata",
    "Number",
    "OnUnavailable",
    "Operation",
    "Plan",
    "QuotagateError",
    "Settlement",
    "Subscription",
    "Tracked",
    "Undelivered",
    "Usage",
    "rate_limit_headers",
    "user_token",
]
