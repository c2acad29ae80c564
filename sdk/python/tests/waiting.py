"""Waits for conditions, with a deadline that even a slow machine meets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

DEADLINE = 120.0
"""In seconds."""


def eventually(what: str, condition: Callable[[], object]) -> None:
    """Returns as soon as the condition holds; fails with ``what`` at the deadline."""
    ends = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < ends, f"waited {DEADLINE:.0f} s for {what}"
        pause.wait(0.02)


def happens(what: str, event: threading.Event) -> None:
    """Waits for the event; fails with ``what`` at the deadline."""
    assert event.wait(DEADLINE), f"waited {DEADLINE:.0f} s for {what}"


async def happens_async(what: str, event: threading.Event) -> None:
    """``happens`` for an event loop."""
    await asyncio.to_thread(happens, what, event)
