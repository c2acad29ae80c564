// An agent run: holds a budget once, charges each step, and releases the rest at the end.
import { LimitReached } from "@quotagate/sdk";
import { setup, show } from "./setup.mjs";

const { client, userId } = await setup("agent-run", [
  { id: "agent_tokens", label: "Agent tokens", unit: "tokens", quota: 60_000, measure: "quantity", matches: [{ event: "agent.run" }] },
  { id: "agent_runs", label: "Runs", unit: "count", quota: 10, measure: "event", matches: [{ event: "agent.run" }] },
]);

/** Replaces a step of your agent. @param {number} step */
async function runStep(step) {
  return { tokens: 1_000 * step, done: step === 4 };
}

async function run() {
  return client.withReservation({ userId, event: "agent.run", quantity: 50_000, ttlSeconds: 600 }, async (r) => {
    for (let step = 1; ; step += 1) {
      const { tokens, done } = await runStep(step);
      await r.draw(tokens);
      if (step === 2) await show(client, userId);
      if (done) return `done after ${step} steps`;
    }
  });
}

console.log(await run());
await show(client, userId);
try {
  await client.track(userId, "agent.run", 5_000);
  await run();
} catch (error) {
  if (!(error instanceof LimitReached)) throw error;
  console.log(error.message);
}
