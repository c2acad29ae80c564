import assert from "node:assert/strict";
import { test } from "node:test";
import { type Decision, LimitReached, rateLimitHeaders } from "../src/index.js";
import { group, world } from "./support/gateway.js";

const NAMES = ["RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"];

test("rateLimitHeaders equals the gateway's headers", async () => {
  const { admin, connect, url } = await world([
    group("month", 20, "image.*"),
    group("minute", 8, "image.*", { periodType: "minute" }),
    group("ever", 100, "image.*", { periodType: "lifetime", periodAnchor: "calendar" }),
    group("flight", 50, "image.*", { periodType: "concurrent" }),
    group("free", null, "image.*"),
    group("spend", "2.5" as never, "image.*", { unit: "cents", measure: { per: { event: "0.3" } } }),
  ].map((one) => (one.id === "spend" ? one : { ...one, measure: "quantity" as const })));
  const now = "2026-12-10T10:00:07.250Z";
  await admin.admin.testClock.set(now);
  await admin.upsertSubscription({ userId: "u_1", planId: "plan" });
  await admin.admin.grants.create({ groupId: "month", scope: { user: "u_1" }, amount: 2 });
  let gateway: Headers | undefined;
  const client = connect({
    baseUrl: url,
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      gateway = response.headers;
      return response;
    },
  });
  const same = (answer: Parameters<typeof rateLimitHeaders>[0]) => {
    const ours = rateLimitHeaders(answer, Date.parse(now));
    for (const name of NAMES) assert.equal(ours[name] ?? null, gateway!.get(name), name);
    return ours;
  };
  const allowed = same(await client.reserve("u_1", "image.render", 3));
  assert.equal(allowed["X-RateLimit-Limit"], "8");
  assert.match(allowed["RateLimit-Policy"] ?? "", /"month";q=22;w=2678400/);
  same(await client.track("u_1", "image.render", 2));
  const denied = same(await client.reserve("u_1", "image.render", 6));
  assert.equal(denied["Retry-After"], "53");
});

test("rateLimitHeaders includes what balances have, like the gateway's headers", async () => {
  const { admin, connect, url } = await world([
    group("images", 3, "image.*", { measure: "quantity", overflow: "packs" }),
    group("minute", 20, "image.*", { measure: "quantity", periodType: "minute" }),
    { id: "packs", kind: "balance", unit: "count", matches: [] },
  ]);
  const now = "2026-12-10T10:00:07.250Z";
  await admin.admin.testClock.set(now);
  await admin.upsertSubscription({ userId: "u_1", planId: "plan" });
  await admin.credits.create({ groupId: "packs", scope: { user: "u_1" }, amount: 9 });
  let gateway: Headers | undefined;
  const client = connect({
    baseUrl: url,
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      gateway = response.headers;
      return response;
    },
  });
  for (const [quantity, state] of [
    [3, '"minute";r=17;t=53'],
    [4, '"minute";r=13;t=53, "images";r=5;t=1864793'],
    [6, '"images";r=5;t=1864793, "minute";r=13;t=53'],
  ] as const) {
    const ours = rateLimitHeaders(await client.reserve("u_1", "image.render", quantity), Date.parse(now));
    for (const name of NAMES) assert.equal(ours[name] ?? null, gateway!.get(name), `${name} of ${quantity}`);
    assert.equal(ours.RateLimit, state);
  }
});

test("a counter without limit has no headers", () => {
  const decision: Decision = { allowed: false, matched: false, matchedGroupIds: [], reasons: ["unmatched_event"], deniedBy: [], counters: [] };
  assert.deepEqual(rateLimitHeaders(decision), {});
  assert.deepEqual(rateLimitHeaders(new LimitReached({ ...decision, retryAfterMs: 1_001 }).decision), { "Retry-After": "2" });
});
