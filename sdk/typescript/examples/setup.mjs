// What every example needs: a plan, a key of a test sandbox, and a user on the plan.
import { createClient } from "@quotagate/sdk";

const adminKey = process.env.QUOTAGATE_ADMIN_KEY;
if (!adminKey) throw new Error("Set QUOTAGATE_ADMIN_KEY (ak_…), and QUOTAGATE_URL unless it is http://127.0.0.1:8080");

/**
 * Creates a plan with these groups, and a user on it in a test sandbox.
 *
 * @param {string} name of the example
 * @param {import("@quotagate/sdk").GroupBody[]} groups
 */
export async function setup(name, groups) {
  const sandbox = name;
  const operator = createClient({ apiKey: /** @type {string} */ (adminKey) });
  await operator.admin.plans.put(name, { periodType: "monthly", periodAnchor: "calendar", groups });
  const { key } = await operator.admin.keys.create({ kind: "secret", mode: "test", sandbox, name });
  const client = createClient({ apiKey: /** @type {string} */ (key) });
  const userId = `user_${Date.now()}`;
  await client.upsertSubscription({ userId, planId: name });
  return { client, operator, userId, planId: name, sandbox };
}

/**
 * Prints one line for each counter of a user.
 *
 * @param {import("@quotagate/sdk").Client} client
 * @param {string} userId
 */
export async function show(client, userId) {
  for (const { label, used, held, quota } of (await client.usage(userId)).counters) {
    console.log(`${label}: ${used} used, ${held} held of ${quota ?? "no limit"}`);
  }
}
