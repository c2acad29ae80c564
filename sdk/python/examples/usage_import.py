"""Many events at once: a night's usage, 100 events in a request. An invalid event has an error in its own result."""

from __future__ import annotations

from examples.setup import back_end, put_plan, subscribed
from quotagate import Operation

CALLS = {
    "id": "recipe_calls",
    "label": "API calls",
    "unit": "count",
    "quota": None,
    "matches": [{"event": "api.call"}],
}

RECORDED = [-1 if line == 7 else 1 for line in range(250)]


def main() -> None:
    put_plan("recipe_calls", CALLS)
    with back_end() as client:
        user_id = subscribed(client, "recipe_calls")
        for first in range(0, len(RECORDED), 100):
            part: list[Operation] = [
                # With a key for each line, a repeated import counts no line twice.
                {
                    "op": "track",
                    "userId": user_id,
                    "event": "api.call",
                    "quantity": quantity,
                    "idempotencyKey": f"night-{line}",
                }
                for line, quantity in enumerate(RECORDED[first : first + 100], first)
            ]
            for line, result in enumerate(client.batch(part), first):
                if result.error is not None:
                    print(f"line {line}: {result.error.code}")
        print(client.usage(user_id).counters[0].used, "of", len(RECORDED), "counted")


if __name__ == "__main__":
    main()
