"""The client."""

from __future__ import annotations

import weakref
from types import TracebackType

import httpx

from quotagate._async import runtime
from quotagate._async.accounts import AsyncAccounts
from quotagate._async.admin import AsyncAdmin
from quotagate._async.credits import AsyncCredits
from quotagate._async.estimates import AsyncEstimates
from quotagate._async.limits import AsyncLimits
from quotagate._async.reservation import AsyncReservations
from quotagate._async.settling import AsyncCore
from quotagate._async.transport import AsyncTransport
from quotagate.options import OnUnavailable, Options


class AsyncClient(AsyncReservations, AsyncAccounts):
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

        async with AsyncClient() as client:
            r = await client.reserve("u_42", "image.render")
            if r.allowed:
                await client.commit(r)
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
        http: httpx.AsyncClient | None = None,
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
        self._core = AsyncCore(AsyncTransport(options, http), on_undelivered)
        self.admin = AsyncAdmin(self._core)
        self.credits = AsyncCredits(self._core)
        self.limits = AsyncLimits(self._core)
        self.estimates = AsyncEstimates(self._core)
        # A client that was never closed reports its undelivered calls when it, or the process, ends.
        self._finalizer = weakref.finalize(self, self._core.backlog.abandon)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._core.options.base_url!r})"

    @property
    def undelivered(self) -> int:
        """The number of commits, releases and kept tracks that wait for the gateway."""
        return len(self._core.backlog)

    async def flush(self, seconds: float = 10.0) -> int:
        """Retries the waiting calls for this many seconds. Returns how many still wait.

        Example::

            assert await client.flush() == 0
        """
        return await self._core.backlog.flush(seconds)

    async def aclose(self, seconds: float = 5.0) -> None:
        """Waits for calls in progress, retries the waiting calls for this many seconds, passes the rest to
        ``on_undelivered``, and closes the connections.

        Example::

            await client.aclose()
        """
        await self._core.background.settled()
        await self._core.backlog.aclose(seconds)
        self._finalizer.detach()
        await self._core.transport.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
