/** Usage, subscriptions and plans. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { QuotagateError, type Usage, userToken } from "../src/index.js";
import { group, world } from "./support/gateway.js";
import { startProxy } from "./support/proxy.js";

const refused = (code: string, status: number) => (error: unknown) => error instanceof QuotagateError && error.code === code && error.status === status;

test("usage shows all counters, or those of an event", async () => {
  const { client, user } = await world([group("images", 20, "image.*"), group("calls", null, "api.*")]);
  const userId = await user("u/1 ü");
  await client.track(userId, "image.render", 12);
  const usage = await client.usage(userId);
  assert.deepEqual([usage.userId, usage.planId, usage.counters.length], ["u/1 ü", "plan", 2]);
  const [images] = (await client.usage(userId, "image.*")).counters;
  assert.deepEqual([images?.used, images?.remaining, images?.percentUsed], [12, 8, 60]);
  const nobody = await client.usage("u_unknown");
  assert.deepEqual([nobody.planId, nobody.counters], [null, []]);
});

test("subscriptions: upsert, customise, cancel, each once", async () => {
  const { client, admin } = await world([group("images", 20, "image.*")]);
  await admin.admin.testClock.set("2026-12-10T10:00:00Z");
  const first = await client.upsertSubscription({ userId: "u_1", planId: "plan", cycleStart: "2026-11-30T00:00:00Z" });
  assert.deepEqual([first.planId, first.changed, first.cycleStart], ["plan", true, "2026-11-30T00:00:00Z"]);
  assert.equal((await client.upsertSubscription({ userId: "u_1", planId: "plan" })).changed, false);
  await client.upsertSubscription({ userId: "u_1", planId: "plan", customLimits: { images: { quota: 2 } } });
  assert.equal(await client.can("u_1", "image.render", 3), false);
  await assert.rejects(client.upsertSubscription({ userId: "u_1", planId: "none" }), refused("invalid_request", 400));

  assert.equal((await client.cancelSubscription("u_1", { endsAt: "2026-12-20T00:00:00Z" })).endsAt, "2026-12-20T00:00:00Z");
  assert.equal(await client.can("u_1", "image.render"), true);
  await admin.admin.testClock.set("2026-12-20T00:00:00Z");
  const after = await client.reserve("u_1", "image.render");
  assert.deepEqual([after.allowed, after.reasons], [false, ["no_subscription"]]);
  await assert.rejects(client.cancelSubscription("u_1"), refused("already_canceled", 409));
});

test("a cancellation whose answer was lost is retried with the same key", async () => {
  const { url, connect, user } = await world([group("images", 20, "image.*")]);
  const userId = await user("u_1");
  const proxy = await startProxy(url);
  proxy.next("cut-after");
  assert.equal((await connect({ baseUrl: proxy.url }).cancelSubscription(userId)).planId, "plan");
  assert.equal(proxy.seen.length, 2);
});

test("plans can be read by back ends and browsers", async () => {
  const { client, admin, connect } = await world([group("images", 20, "image.*")]);
  const { key } = await admin.admin.keys.create({ kind: "publishable", mode: "test", origins: ["https://app.test"] });
  for (const reader of [client, connect({ apiKey: key! })]) {
    const plans = await reader.availablePlans();
    assert.deepEqual(plans.map((plan) => [plan.id, plan.version > 0, plan.groups[0]?.quota]), [["plan", true, 20]]);
  }
  await assert.rejects(connect({ apiKey: key! }).reserve("u_1", "image.render"), refused("forbidden_key", 403));
});

test("a publishable key reads the usage of the user whose token it has", async () => {
  const { admin, connect, user } = await world([group("images", 20, "image.*")]);
  const userId = await user("u_1");
  const { key, userTokenSecret } = await admin.admin.keys.create({ kind: "publishable", mode: "test", requireUserToken: true });
  const token = await userToken(userTokenSecret!, userId);
  assert.equal((await connect({ apiKey: key!, userToken: token }).usage(userId)).planId, "plan");
  assert.equal((await connect({ apiKey: key! }).usage(userId, undefined, { userToken: token })).planId, "plan");
  for await (const usage of connect({ apiKey: key!, userToken: token }).watchUsage(userId)) {
    assert.equal(usage.userId, userId);
    break;
  }
  await assert.rejects(connect({ apiKey: key!, userToken: token }).usage("u_2"), refused("forbidden_key", 403));
});

test("watchUsage yields the present usage and every change, also over a cut connection", async () => {
  const { client, connect, user, url } = await world([group("images", 20, "image.*")]);
  const userId = await user("u_1");
  let connections = 0;
  const watching = connect({
    baseUrl: url,
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if (!input.includes("usage/stream") || (connections += 1) > 1) return response;
      // The first connection ends after its first event.
      const reader = response.body!.getReader();
      const body = new ReadableStream({
        async pull(controller) {
          const { value } = await reader.read();
          controller.enqueue(value);
          await reader.cancel();
          controller.close();
        },
      });
      return new Response(body, { headers: response.headers });
    },
  });
  const used: number[] = [];
  for await (const usage of watching.watchUsage(userId)) {
    used.push(usage.counters[0]!.used);
    if (used.length === 3) break;
    await client.track(userId, "image.render", used.length);
  }
  assert.deepEqual(used, [0, 1, 3]);
  assert.equal(connections, 2);
});

test("watchUsage ends with its signal, and at once if a retry cannot help", async () => {
  const { client, connect, user } = await world([group("images", 20, "image.*")]);
  const userId = await user("u_1");
  const controller = new AbortController();
  const seen: Usage[] = [];
  await assert.rejects(async () => {
    for await (const usage of client.watchUsage(userId, { signal: controller.signal, event: "image.*" })) {
      seen.push(usage);
      controller.abort(new Error("page closed"));
    }
  }, /page closed/);
  assert.equal(seen.length, 1);
  await assert.rejects(connect({ apiKey: "pk_test_wrong" }).watchUsage(userId).next(), refused("invalid_key", 401));
});
