# Generated from ../_async/undelivered.py by tools/generate_sync.py; do not edit.
"""Calls that could not be delivered. They are stored in order and retried until they are too old."""

from __future__ import annotations

import inspect
import threading
import time
from collections import Counter

from quotagate import _undelivered
from quotagate._answers import backoff
from quotagate._batch import operation_of, results, take
from quotagate._sync import runtime
from quotagate._sync.transport import Call, Transport
from quotagate._undelivered import FAILURES_IN_A_ROW, LONGEST_PAUSE, MOST, Kept
from quotagate.errors import QuotagateError

TOO_MANY = 429
"""The status while the gateway runs too many batches: the calls wait for the next round."""


class Backlog:
    """The calls of one client that wait for the gateway."""

    def __init__(
        self,
        transport: Transport,
        background: runtime.Background,
        on_undelivered: runtime.OnUndelivered | None,
    ) -> None:
        self._transport = transport
        self._background = background
        self._receive = on_undelivered or _undelivered.log
        # By identity, in order of arrival.
        self._kept: dict[int, Kept] = {}
        self._lines: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._round = runtime.Lock()
        self._timer: runtime.Later | None = None
        self._fruitless = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._kept)

    def holds(self, line: str) -> bool:
        """True if a call of this line is waiting; a later call must not overtake it."""
        with self._guard:
            return self._lines[line] > 0

    def keep(self, kept: Kept) -> None:
        """Stores a call that failed."""
        if not self.add(kept):
            self._give_up(kept)

    def add(self, kept: Kept) -> bool:
        """Returns False if the backlog is full or closed."""
        with self._guard:
            if len(self._kept) >= MOST or self._closed:
                return False
            self._kept[id(kept)] = kept
            self._lines[kept.line] += 1
        self._schedule()
        return True

    def _schedule(self) -> None:
        with self._guard:
            if self._timer is None and self._kept and not self._closed:
                # The pause doubles with each round that delivers nothing.
                pause = min(LONGEST_PAUSE, 2.0 ** min(self._fruitless, 10) * (0.25 + backoff(3)))
                self._timer = self._background.later(pause, self._tick)

    def _tick(self) -> None:
        with self._guard:
            self._timer = None
        self.run()
        self._schedule()

    def run(self, ends: float | None = None) -> None:
        """One round: tries every line once, in order, unless the gateway seems to be down."""
        with self._round:
            failures, stuck = 0, set[str]()
            with self._guard:
                waiting = list(self._kept.values())
            for kept in waiting:
                if kept.expired:
                    stuck.add(kept.line)
                    self._drop(kept)
            while failures < FAILURES_IN_A_ROW and (ends is None or time.monotonic() < ends):
                part = take(waiting, stuck)
                if not part:
                    break
                delivered = self._deliver(part, ends)
                stuck.update(kept.line for kept, done in zip(part, delivered, strict=True) if not done)
                failures = 0 if any(delivered) else failures + 1
            self._fruitless = self._fruitless + 1 if failures >= FAILURES_IN_A_ROW or stuck else 0

    def _deliver(self, part: list[Kept], ends: float | None) -> list[bool]:
        """For each call: True if the gateway answered it, False if it keeps waiting."""
        if len(part) == 1:
            return self._one_by_one(part, ends)
        operations = [operation_of(kept) for kept in part]
        try:
            call = Call("POST", "batch", {"operations": operations})
            answer = self._transport.send(call, deadline=self._limit(ends), retries=0)
            received = results(answer.data, operations)
        except QuotagateError as error:
            if not _undelivered.may_yet_arrive(error) and error.status != TOO_MANY:
                # The gateway has no batches, or rejects this one: it may still accept each call alone.
                return self._one_by_one(part, ends)
            return [self._failed(kept, error) for kept in part]
        return [self._settled(kept, result.error) for kept, result in zip(part, received, strict=True)]

    def _one_by_one(self, part: list[Kept], ends: float | None) -> list[bool]:
        """Like ``_deliver``, with one request for each call."""
        delivered: list[bool] = []
        for kept in part:
            down = len(delivered) >= FAILURES_IN_A_ROW and not any(delivered[-FAILURES_IN_A_ROW:])
            if down or (ends is not None and time.monotonic() >= ends):
                delivered.append(False)
                continue
            failure: QuotagateError | None = None
            try:
                call = Call("POST", kept.call, kept.body, idempotency_key=kept.idempotency_key)
                self._transport.send(call, deadline=self._limit(ends), retries=0)
            except QuotagateError as error:
                failure = error
            delivered.append(self._settled(kept, failure))
        return delivered

    def _limit(self, ends: float | None) -> float:
        options = self._transport.options
        limit = min(options.timeout, options.deadline)
        return limit if ends is None else min(limit, max(ends - time.monotonic(), 0.001))

    def _settled(self, kept: Kept, error: QuotagateError | None) -> bool:
        """Handles the result of a call. Returns False if it keeps waiting."""
        if error is None:
            self._forget(kept)
            return True
        if _undelivered.may_yet_arrive(error):
            return self._failed(kept, error)
        kept.attempts += 1
        kept.error = error.with_traceback(None)
        # The gateway refused the call, so a retry cannot help.
        self._drop(kept)
        return True

    def _failed(self, kept: Kept, error: QuotagateError) -> bool:
        """Handles a call that did not arrive. Always returns False."""
        kept.attempts += 1
        kept.error = error.with_traceback(None)
        if kept.expired:
            self._drop(kept)
        return False

    def _forget(self, kept: Kept) -> bool:
        with self._guard:
            known = self._kept.pop(id(kept), None) is not None
            if known:
                self._lines -= Counter((kept.line,))
            return known

    def _drop(self, kept: Kept) -> None:
        if self._forget(kept):
            self._give_up(kept)

    def _give_up(self, kept: Kept) -> None:
        lost = kept.lost()
        if lost is not None:
            runtime.hand_over(self._receive, lost)

    def flush(self, seconds: float) -> int:
        """Retries for this many seconds. Returns how many calls still wait."""
        ends = time.monotonic() + seconds
        attempt = 0
        while len(self) and time.monotonic() < ends:
            self.run(ends)
            attempt += 1
            if len(self):
                runtime.sleep(min(backoff(attempt), max(0.0, ends - time.monotonic())))
        return len(self)

    def close(self, seconds: float) -> None:
        """Tries once more, then passes the remaining calls to ``on_undelivered``."""
        with self._guard:
            self._closed = True
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.run(time.monotonic() + seconds)
        for kept in list(self._kept.values()):
            self._drop(kept)

    def abandon(self) -> None:
        """Reports all waiting calls without trying again: the client was garbage-collected, or the process ends."""
        for kept in list(self._kept.values()):
            if self._forget(kept):
                self.give_up_now(kept)

    def give_up_now(self, kept: Kept) -> None:
        """Reports a lost call where nothing can be awaited. If ``on_undelivered`` is a coroutine, the log gets it."""
        lost = kept.lost()
        if lost is None:
            return
        if inspect.iscoroutinefunction(self._receive):
            _undelivered.log(lost)
            return
        try:
            self._receive(lost)
        except Exception:
            _undelivered.logger.exception("on_undelivered failed")
