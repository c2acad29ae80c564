# Generated from ../_async/client.py by tools/generate_sync.py; do not edit.
"""The client."""

from __future__ import annotations

import weakref
from types import TracebackType

import httpx

from quotagate._sync import runtime
from quotagate._sync.accounts import Accounts
from quotagate._sync.admin import Admin
from quotagate._sync.reservation import Reservations
from quotagate._sync.settling import Core
from quotagate._sync.transport import Transport
from quotagate.options import OnUnavailable, Options


class Client(Reservations, Accounts):
    """A client of one gateway. Make one per process and share it; close it, or use it as a context manager.

    - ``api_key``: ``sk_…`` in back ends, ``pk_…`` for reading usage, ``ak_…`` for the ``admin`` part
    - ``base_url``: else the variable ``QUOTAGATE_URL``, else ``http://127.0.0.1:8080``
    - ``timeout``: how long one attempt may take, in seconds
    - ``deadline``: how long a call may take with all its attempts, in seconds
    - ``retries``: how often a failed attempt is repeated, at most; 0 never repeats
    - ``on_unavailable``: what ``reserve`` and ``can_use`` answer when the gateway cannot be reached, ``"deny"`` or
      ``"allow"``; either is marked ``degraded``
    - ``throw_on_deny``: denials of ``reserve``, ``extend`` and ``track(enforce=True)`` are raised as ``LimitReached``
    - ``on_undelivered``: receives every commit or kept track that could not be delivered in its time, or was refused
      when it was; without it they are logged as errors
    - ``mode`` (``live``, ``test``, ``test/<sandbox>``): with an ``ak_`` key, what is worked on
    - ``app``: with the root admin key, which app is worked on
    - ``user_token``: with a ``pk_`` key that requires it, the token of the one user whose usage is read
    - ``http``: an ``httpx`` client of your own (proxies, certificates); it is not closed

    Raises ``QuotagateError`` with the code ``invalid_options`` at what cannot work.

    Example::

        with Client(api_key=os.environ["QG_KEY"]) as client:
            r = client.reserve("u_42", "image.render")
            if r.allowed:
                client.commit(r)
    """

    def __init__(
        self,
        *,
        api_key: str,
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
        # A client that nobody closed: what waits is told at its end, or at that of the process.
        self._finalizer = weakref.finalize(self, self._core.backlog.abandon)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._core.options.base_url!r})"

    @property
    def undelivered(self) -> int:
        """How many commits, releases and kept tracks wait for the gateway."""
        return len(self._core.backlog)

    def flush(self, seconds: float = 10.0) -> int:
        """Tries for so many seconds to deliver what waits, and answers how many calls wait yet.

        Example::

            assert client.flush() == 0
        """
        return self._core.backlog.flush(seconds)

    def close(self, seconds: float = 5.0) -> None:
        """Waits for what runs, tries once more for so many seconds to deliver what waits, hands the rest to
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
