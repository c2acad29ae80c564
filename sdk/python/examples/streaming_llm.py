"""A streaming LLM: holds the largest possible amount, charges what was produced, and returns the rest at once."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from examples.setup import back_end, put_plan, subscribed
from quotagate import Client

TOKENS = {"id": "recipe_stream_tokens", "unit": "tokens", "quota": 10_000, "matches": [{"event": "llm.tokens"}]}


def llm(prompt: str) -> Iterator[str]:
    """Replaces a provider's stream."""
    yield from (f"{prompt} " * 50).split()


def answer(client: Client, user_id: str, prompt: str) -> Generator[str, None, None]:
    with client.stream_reservation(user_id, "llm.tokens", 4_000) as r:
        # Each piece is one token here. A second argument returns the tokens of a piece.
        yield from r.count(llm(prompt))


def main() -> None:
    put_plan("recipe_stream", TOKENS)
    with back_end() as client:
        user_id = subscribed(client, "recipe_stream")
        print("whole answer:", len(list(answer(client, user_id, "four words of text"))), "tokens")
        stream = answer(client, user_id, "four words of text")
        for number, _ in enumerate(stream, 1):
            if number == 12:
                counter = client.usage(user_id).counters[0]
                print("while it streams:", counter.used, "used,", counter.held, "held")
                # The reader leaves.
                break
        stream.close()
        counter = client.usage(user_id).counters[0]
        print("stopped after 12:", counter.used, "used,", counter.held, "held")


if __name__ == "__main__":
    main()
