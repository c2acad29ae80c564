# Generated from ../_async/client.py by tools/generate_sync.py; do not edit.
"""The client."""

from __future__ import annotations

import weakref
from types import TracebackType

import httpx

from quotagate._sync import runtime
from quotagate._sync.accounts import Accounts
from quotagate._sync.admin import Admin
from quotagate._sync.credits import Credits
from quotagate._sync.estimates import Estimates
from quotagate._sync.limits import Limits
from quotagate._sync.reservation import Reservations
from quotagate._sync.settling import Core
from quotagate._sync.transport import Transport
from quotagate.options import OnUnavailable, Options


class Client(Reservations, Accounts):
    """A client of one gateway. Create one per process and share it; close it, or use it as a context manager.

    - ``api_key``: ``sk_…`` in back ends, ``pk_…`` for reading usage, ``ak_…`` for the ``admin`` part; default: the
      environment variable ``QUOTAGATE_KEY``
    - ``base_url``: default: the environment variable ``QUOTAGATE_URL``, or ``http://127.0.0.1:8080``
    - ``timeout``: the longest time of one attempt, in seconds
    - ``deadline``: the longest time of a call with all its attempts, in seconds
    - ``retries``: how often the client retries a failed attempt, at most
    - ``on_unavailable``: what ``reserve`` and ``can_use`` answer when the gateway cannot be reached, ``"deny"`` or
      ``"allow"``; either is marked ``degraded``
    - ``throw_on_deny``: ``reserve``, ``extend`` and ``track(enforce=True)`` raise ``Denied`` instead of returning a
      denial
    - ``on_undelivered``: receives every commit or kept track that could not be delivered in time, or that the gateway
      refused; by default they are logged as errors
    - ``mode`` (``live``, ``test``, ``test/<sandbox>``): the mode that an ``ak_`` key works in
    - ``app``: the app that the root admin key works on
    - ``user_token``: the user's token, for a ``pk_`` key that requires one
    - ``http``: your own ``httpx`` client (proxies, certificates); you close it yourself

    Raises ``QuotagateError`` with the code ``invalid_options``.

    Example::

        with Client() as client:
            r = client.reserve("u_42", "image.render")
            if r.allowed:
                client.commit(r)
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = 3.0,
        deadline: float = 10.0,
        retries: int = 4,
        on_unavailable: OnUnavailable = "deny",
        throw_on_deny: bool = False,
        on_undelivered: runtime.OnUndelivered | None = None,
        mode: str | None = None,
        app: str | None = None,
        user_token: str | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        options = Options.of(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            deadline=deadline,
            retries=retries,
            on_unavailable=on_unavailable,
            throw_on_deny=throw_on_deny,
            mode=mode,
            app=app,
            user_token=user_token,
        )
        self._core = Core(Transport(options, http), on_undelivered)
        self.admin = Admin(self._core)
        self.credits = Credits(self._core)
        self.limits = Limits(self._core)
        self.estimates = Estimates(self._core)
        # A client that was never closed reports its undelivered calls when it, or the process, ends.
        self._finalizer = weakref.finalize(self, self._core.backlog.abandon)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._core.options.base_url!r})"

    @property
    def undelivered(self) -> int:
        """The number of commits, releases and kept tracks that wait for the gateway."""
        return len(self._core.backlog)

    def flush(self, seconds: float = 10.0) -> int:
        """Retries the waiting calls for this many seconds. Returns how many still wait.

        Example::

            assert client.flush() == 0
        """
        return self._core.backlog.flush(seconds)

    def close(self, seconds: float = 5.0) -> None:
        """Waits for calls in progress, retries the waiting calls for this many seconds, passes the rest to
        ``on_undelivered``, and closes the connections.

        Example::

            client.close()
        """
        self._core.background.settled()
        self._core.backlog.close(seconds)
        self._finalizer.detach()
        self._core.transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
