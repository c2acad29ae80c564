"""The part that differs between the asynchronous and the synchronous client: waiting and background work."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from quotagate._undelivered import Undelivered, logger

T = TypeVar("T")

Job: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Work: TypeAlias = Callable[[], Coroutine[Any, Any, T]]
OnUndelivered: TypeAlias = Callable[[Undelivered], Awaitable[None] | None]

Lock = asyncio.Lock
sleep = asyncio.sleep


async def hand_over(receive: OnUndelivered, lost: Undelivered) -> None:
    """Calls ``on_undelivered`` of the application, and logs its errors."""
    try:
        answer = receive(lost)
        if inspect.isawaitable(answer):
            await answer
    except Exception:
        logger.exception("on_undelivered failed for %s with key %s", lost.call, lost.idempotency_key)


async def closed(stream: Any) -> None:
    """Closes another library's stream by ``close`` or ``aclose``."""
    close = getattr(stream, "close", None) or getattr(stream, "aclose", None)
    if close is not None:
        answer = close()
        if inspect.isawaitable(answer):
            await answer


class Later:
    """A job that starts later and can be cancelled until then."""

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self._timer = timer

    def cancel(self) -> None:
        self._timer.cancel()


class Background:
    """The background work of one client."""

    def __init__(self) -> None:
        # The loop has only weak references to tasks.
        self._tasks: set[asyncio.Task[Any]] = set()

    def later(self, seconds: float, job: Job) -> Later:
        """Starts the job after this many seconds."""
        return Later(asyncio.get_running_loop().call_later(seconds, lambda: self._start(job)))

    def _start(self, work: Work[T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("work in the background ended with %r", error)

    async def to_end(self, work: Work[T]) -> T:
        """Runs the work to its end, even if the caller is cancelled."""
        return await asyncio.shield(self._start(work))

    async def or_undo(self, work: Work[T], undo: Callable[[T], Coroutine[Any, Any, Any]]) -> T:
        """Runs the work. If the caller is cancelled meanwhile, undoes the work as soon as it ends."""
        task = self._start(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:

            async def undone() -> None:
                await undo(await task)

            self._start(undone)
            raise

    def dropped(self, settle: Work[Any]) -> None:
        """Settles a reservation that was garbage-collected. Without a running loop its hold expires."""
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            self._start(settle)

    async def settled(self) -> None:
        """Waits until no background work is running."""
        while others := self._tasks - {asyncio.current_task()}:
            await asyncio.wait(others)
