// Uses the package on a runtime; see runtimes.sh.
import { createClient, LimitReached, userToken } from "@quotagate/sdk";
import { withQuota } from "@quotagate/sdk/fetch";

const operator = createClient({ apiKey: process.env.QUOTAGATE_ADMIN_KEY });
const plan = `plan_${Date.now()}`;
const groups = [{ id: plan, unit: "tokens", quota: 100, periodType: "monthly", periodAnchor: "calendar", matches: [{ event: "llm" }] }];
await operator.admin.plans.put(plan, { groups });
const { key } = await operator.admin.keys.create({ kind: "secret", mode: "test", sandbox: plan });
const client = createClient({ apiKey: key });
const user = { userId: "u_1", event: "llm", quantity: 10 };
await client.upsertSubscription({ userId: user.userId, planId: plan });

await client.withReservation(user, (r) => r.use(3));

async function* chunks() {
  yield* [1, 1, 1];
}
const stream = await client.streamWithReservation(user, chunks, { count: (chunk) => chunk });
for await (const chunk of stream) if (chunk) break;

const handler = withQuota(client, { userId: () => user.userId, event: "llm", quantity: 5 }, (_request, r) => {
  r.use(2);
  return new Response("served");
});
const served = await (await handler(new Request("http://app.test/"))).text();

const denial = await client.withReservation({ ...user, quantity: 1_000 }, () => undefined).catch((error) => error);
const unreachable = createClient({ apiKey: "sk_test_x", baseUrl: "http://127.0.0.1:1", retries: 1 });
const { degraded } = await unreachable.reserve("u_1", "llm");

let used;
for await (const usage of client.watchUsage(user.userId)) {
  used = usage.counters[0].used;
  break;
}
const token = await userToken("secret", user.userId);

const seen = JSON.stringify([used, served, denial instanceof LimitReached, degraded, token.slice(0, 8)]);
const expected = JSON.stringify([6, "served", true, true, "f8aa70ed"]);
if (seen !== expected) throw new Error(`${seen}, not ${expected}`);
console.log("  does all of it");
