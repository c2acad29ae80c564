// A streaming answer: holds the largest possible amount, and charges what was produced, also if the reader leaves.
import { setup, show } from "./setup.mjs";

const { client, userId } = await setup("llm-stream-refund", [
  { id: "stream_tokens", label: "Tokens", unit: "tokens", quota: 10_000, matches: [{ event: "llm.tokens" }] },
]);

/** Replaces your provider's stream. @param {AbortSignal} signal */
async function* complete(signal) {
  for (const text of "Quota is reserved before it is spent".split(" ")) {
    signal.throwIfAborted();
    yield { text, tokens: 2 };
  }
}

async function answer() {
  return client.streamWithReservation(
    { userId, event: "llm.tokens", quantity: 4_000 },
    (r) => complete(r.signal),
    { count: (chunk) => chunk.tokens },
  );
}

const whole = await answer();
await show(client, userId);
for await (const chunk of whole) console.log(chunk.text);
await show(client, userId);

for await (const chunk of await answer()) {
  if (chunk.text === "reserved") break;
}
await show(client, userId);
