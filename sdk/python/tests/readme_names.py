"""The names that the README's examples use but do not define: those of a reader's application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from quotagate import Client

__all__ = [
    "PROVIDERS",
    "Piece",
    "agent",
    "calls",
    "client",
    "event",
    "llm",
    "messages",
    "prompt",
    "render",
    "table",
]

client: Client
prompt = "a lighthouse"
messages: Any = [{"role": "user", "content": "Say something about quotas."}]
event = {"id": "evt_1", "customer": "u_42", "plan": "readme", "period_start": "2026-01-31T10:00:00Z"}
calls = [("u_42", 3, "night-1"), ("u_42", 4, "night-2")]


@dataclass
class Piece:
    tokens: int


def render(text: str) -> str:
    return text


def llm(text: str) -> Iterator[Piece]:
    yield from (Piece(len(word)) for word in text.split())


async def agent(task: str) -> AsyncIterator[Piece]:
    for word in task.split():
        yield Piece(len(word))


PROVIDERS: list[tuple[str, Callable[[str], str]]] = [("small", render)]


class Table:
    def insert(self, **row: object) -> None:
        raise AssertionError(f"nothing is undelivered: {row}")


table = Table()
