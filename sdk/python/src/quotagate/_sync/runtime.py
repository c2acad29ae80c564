"""The part that differs between the asynchronous and the synchronous client: waiting and background work."""

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
    """Calls ``on_undelivered`` of the application, and logs its errors."""
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
    """A job that starts later and can be cancelled until then."""

    def __init__(self, job: Job) -> None:
        self.job: Job | None = job

    def cancel(self) -> None:
        self.job = None


class Background:
    """The background work of one client.

    One thread waits for the next job. Each job runs in a new thread, so that a slow job delays no other. There is no
    thread without a job, and no thread keeps the process alive.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Later]] = []
        self._order = itertools.count()
        self._waiter: threading.Thread | None = None
        self._running: set[threading.Thread] = set()

    def later(self, seconds: float, job: Job) -> Later:
        """Starts the job after this many seconds."""
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
                # Cancelled jobs are removed, and the thread ends when no job is left.
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
        """Runs the work; a synchronous caller cannot be cancelled."""
        return work()

    def or_undo(self, work: Work[T], undo: Callable[[T], Any]) -> T:
        """Runs the work; a synchronous caller cannot be cancelled."""
        return work()

    def dropped(self, settle: Work[Any]) -> None:
        """Settles a reservation that was garbage-collected."""
        try:
            settle()
        except Exception as error:
            logger.error("settling a dropped reservation failed: %r", error)

    def settled(self) -> None:
        """Waits until no background work is running."""
        while True:
            with self._changed:
                others = self._running - {threading.current_thread()}
            if not others:
                return
            for thread in others:
                thread.join()
