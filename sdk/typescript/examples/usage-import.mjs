// Many events at once: a night's usage, 100 events in a request. An invalid event has an error in its own result.
import { setup } from "./setup.mjs";

const { client, userId } = await setup("usage-import", [
  { id: "import_calls", label: "API calls", unit: "count", quota: null, matches: [{ event: "api.call" }] },
]);

const recorded = Array.from({ length: 250 }, (_, line) => ({ line, quantity: line === 7 ? -1 : 1 }));

for (let first = 0; first < recorded.length; first += 100) {
  const part = recorded.slice(first, first + 100);
  const results = await client.batch(
    // With a key for each line, a repeated import counts no line twice.
    part.map(({ line, quantity }) => ({ op: "track", userId, event: "api.call", quantity, idempotencyKey: `night-${line}` })),
  );
  for (const [place, result] of results.entries()) {
    if (!result.ok) console.log(`line ${first + place}: ${result.error.code}`);
  }
}

const [counter] = (await client.usage(userId)).counters;
console.log(`${counter?.used} of ${recorded.length} counted`);
