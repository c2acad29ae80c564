"""What differs between the asynchronous and the synchronous client: waiting, and work beside the caller's."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from quotagate._undelivered import Undelivered, logger

T = TypeVar("T")

Job: TypeAlias = Callable[[], None]
Work: TypeAlias = Callable[[], T]
OnUndelivered: TypeAlias = Callable[[Undelivered], None]

Lock = threading.Lock
sleep = time.sleep


def hand_over(receive: OnUndelivered, lost: Undelivered) -> None:
    """The receiver is the application's: what it raises is logged."""
    try:
        receive(lost)
    except Exception:
        logger.exception("on_undelivered failed for %s with key %s", lost.call, lost.idempotency_key)


def closed(stream: Any) -> None:
    """Closes another library's stream."""
    close = getattr(stream, "close", None)
    if close is not None:
        close()


class Later:
    """A job that waits for its time; it can be called off until it begins."""

    def __init__(self, job: Job) -> None:
        self.job: Job | None = job

    def cancel(self) -> None:
        self.job = None


class Background:
    """The work of one client that goes on beside the caller's.

    One thread waits for what is due next; each due job gets a thread of its own, so that a slow one delays no other.
    No thread is started before something is waited for, and none keeps the process alive.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Later]] = []
        self._order = itertools.count()
        self._waiter: threading.Thread | None = None
        self._running: set[threading.Thread] = set()

    def later(self, seconds: float, job: Job) -> Later:
        """Runs the job after so many seconds."""
        later = Later(job)
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), later))
            if self._waiter is None:
                self._waiter = threading.Thread(target=self._wait, name="quotagate-timer", daemon=True)
                self._waiter.start()
            elif self._due[0][2] is later:
                self._changed.notify_all()
        return later

    def _wait(self) -> None:
        with self._changed:
            while True:
                # What was called off is let go of at once, and a waiter that waits for nothing ends.
                while self._due and self._due[0][2].job is None:
                    heapq.heappop(self._due)
                if not self._due:
                    self._waiter = None
                    return
                wait = self._due[0][0] - time.monotonic()
                if wait > 0:
                    self._changed.wait(wait)
                    continue
                job = heapq.heappop(self._due)[2].job
                if job is not None:
                    self._start(job)

    def _start(self, job: Job) -> None:
        def run() -> None:
            try:
                job()
            except Exception as error:
                logger.debug("work in the background ended with %r", error)
            finally:
                with self._changed:
                    self._running.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="quotagate-job", daemon=True)
        self._running.add(thread)
        thread.start()

    def to_end(self, work: Work[T]) -> T:
        """Nobody can cancel it here."""
        return work()

    def or_undo(self, work: Work[T], undo: Callable[[T], Any]) -> T:
        """Nobody can cancel it here."""
        return work()

    def dropped(self, settle: Work[Any]) -> None:
        """Something that must be settled was dropped."""
        try:
            settle()
        except Exception as error:
            logger.error("settling what was dropped failed: %r", error)

    def settled(self) -> None:
        """Waits until nothing runs any more."""
        while True:
            with self._changed:
                others = self._running - {threading.current_thread()}
            if not others:
                return
            for thread in others:
                thread.join()
