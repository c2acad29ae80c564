"""Several providers: if one fails, the next is called. Only the successful call is charged; fallbacks are limited."""

from __future__ import annotations

from collections.abc import Callable

from examples.setup import back_end, put_plan, subscribed
from quotagate import Client, LimitReached

REQUESTS = {"id": "recipe_requests", "unit": "count", "quota": 100, "matches": [{"event": "llm.chat"}]}
FALLBACKS = {
    "id": "recipe_fallbacks",
    "label": "Fallbacks",
    "unit": "count",
    "quota": 2,
    "matches": [{"event": "llm.chat", "metadata": {"fallback": "true"}}],
}


def down(prompt: str) -> str:
    raise TimeoutError("no answer")


def up(prompt: str) -> str:
    return f"an answer to {prompt!r}"


PROVIDERS: list[tuple[str, Callable[[str], str]]] = [("cheap", down), ("dear", up)]


def chat(client: Client, user_id: str, prompt: str) -> str:
    failures = []
    for number, (name, call) in enumerate(PROVIDERS):
        metadata = {"provider": name, "fallback": number > 0}
        try:
            # A provider that fails raises an error, which releases its hold.
            with client.reservation(user_id, "llm.chat", metadata=metadata):
                return f"{name}: {call(prompt)}"
        except TimeoutError as failure:
            failures.append(f"{name}: {failure}")
    raise RuntimeError(", ".join(failures))


def main() -> None:
    put_plan("recipe_providers", REQUESTS, FALLBACKS)
    with back_end() as client:
        user_id = subscribed(client, "recipe_providers")
        for prompt in ("one", "two", "three"):
            try:
                print(chat(client, user_id, prompt))
            except LimitReached as denied:
                print("denied:", ", ".join(group.label for group in denied.decision.denied_by))
        for counter in client.usage(user_id).counters:
            print(counter.group_id, counter.used, counter.held)


if __name__ == "__main__":
    main()
