"""An agent run: holds a budget once, charges each step, and returns the rest at the end."""

from __future__ import annotations

import asyncio

from examples.setup import back_end, put_plan, subscribed
from quotagate import AsyncClient, LimitReached

BUDGET = {
    "id": "recipe_agent_tokens",
    "unit": "tokens",
    "quota": 100_000,
    "measure": "quantity",
    "matches": [{"event": "agent.run"}],
}
IN_FLIGHT = {
    "id": "recipe_agents_in_flight",
    "label": "Runs at a time",
    "unit": "count",
    "quota": 1,
    "measure": "event",
    "periodType": "concurrent",
    "matches": [{"event": "agent.run"}],
}


async def step(number: int) -> int:
    await asyncio.sleep(0)
    return 1_500 + 100 * number


async def run(client: AsyncClient, user_id: str, steps: int) -> None:
    # If the run takes longer than this, the client extends the hold.
    async with client.reservation(user_id, "agent.run", 5_000, ttl_seconds=60) as r:
        left = 5_000
        for number in range(steps):
            tokens = await step(number)
            if tokens > left:
                if not (await r.extend(quantity=5_000)).allowed:
                    print("out of budget after", number, "steps")
                    break
                left += 5_000
            await r.draw(tokens)
            left -= tokens
            if number == 0:
                await second_run(client, user_id)


async def second_run(client: AsyncClient, user_id: str) -> None:
    try:
        async with client.reservation(user_id, "agent.run", 5_000):
            print("a second run at the same time")
    except LimitReached as denied:
        print("denied:", denied.decision.denied_by[0].label)


async def use(user_id: str) -> None:
    async with AsyncClient() as client:
        await run(client, user_id, 6)
        for counter in (await client.usage(user_id)).counters:
            print(counter.group_id, counter.used, "used,", counter.held, "held")


def main() -> None:
    put_plan("recipe_agents", BUDGET, IN_FLIGHT)
    with back_end() as client:
        user_id = subscribed(client, "recipe_agents")
    asyncio.run(use(user_id))


if __name__ == "__main__":
    main()
