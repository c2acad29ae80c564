import assert from "node:assert/strict";
import { test } from "node:test";
import type { Repeatable, Undelivered } from "../src/index.js";
import { group, world } from "./support/gateway.js";
import { startProxy } from "./support/proxy.js";
import { PATIENCE_MS } from "./support/timers.js";
import { within } from "./support/wait.js";

/** A user, a client behind a proxy, and the calls that the client passes to onUndelivered. */
async function behindProxy() {
  const base = await world([group("tokens", 10_000, "llm.tokens", { unit: "tokens" })]);
  const userId = await base.user("u_1");
  const proxy = await startProxy(base.url);
  const handedOver: Undelivered[] = [];
  let resolveFirst: () => void;
  const handed = new Promise<void>((resolve) => (resolveFirst = resolve));
  const client = base.connect({
    baseUrl: proxy.url,
    retries: 1,
    onUndelivered: (one) => {
      handedOver.push(one);
      resolveFirst();
    },
  });
  return { ...base, userId, proxy, client, handedOver, handed };
}

test("a commit that cannot be delivered is stored, and counts when the gateway is reachable again", async () => {
  const { client, proxy, userId, counter, handedOver } = await behindProxy();
  const { reservationId } = await client.reserve(userId, "llm.tokens", 1_000);
  proxy.always(() => "cut-before");
  const kept = await client.commit(reservationId, { quantity: 400 });
  assert.deepEqual([kept.status, kept.degraded, client.undeliveredCount], ["undelivered", true, 1]);
  assert.deepEqual(await counter(userId), { used: 0, held: 1_000 });
  assert.equal(await client.flush(300), 1);
  proxy.always(() => "pass");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual(await counter(userId), { used: 400, held: 0 });
  assert.deepEqual(handedOver, []);
});

test("a stored call is retried after a pause, and at once when another call succeeds", async () => {
  const { client, proxy, userId, counter } = await behindProxy();
  const { reservationId } = await client.reserve(userId, "llm.tokens", 1_000);
  proxy.next("cut-before", "cut-before");
  assert.equal((await client.commit(reservationId, { quantity: 400 })).status, "undelivered");
  const commits = () => proxy.seen.filter((one) => one.path.endsWith("commit")).length;
  await client.usage(userId);
  await proxy.until(() => commits() >= 3);
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual(await counter(userId), { used: 400, held: 0 });

  const second = await client.reserve(userId, "llm.tokens", 1_000);
  proxy.next("cut-before", "cut-before");
  assert.equal((await client.commit(second.reservationId, { quantity: 50 })).status, "undelivered");
  // Without another call, only the timer retries.
  await proxy.until(() => commits() >= 6);
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual(await counter(userId), { used: 450, held: 0 });
});

test("later calls do not overtake a stored draw", async () => {
  const { client, proxy, userId, counter, handedOver } = await behindProxy();
  const { reservationId } = await client.reserve(userId, "llm.tokens", 1_000);
  proxy.always(() => "busy");
  await client.commit(reservationId, { quantity: 100, final: false });
  proxy.always(({ path }) => (path.endsWith("commit") ? "busy" : "pass"));
  // The release could arrive first, and would release what the draw has to charge.
  assert.equal((await client.release(reservationId)).status, "undelivered");
  proxy.always(() => "pass");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual(await counter(userId), { used: 100, held: 0 });
  assert.deepEqual(handedOver, []);
});

test("an expired call goes to onUndelivered with everything needed to repeat it", async () => {
  const { client, proxy, userId, counter, handedOver, handed, connect } = await behindProxy();
  const { reservationId } = await client.reserve(userId, "llm.tokens", 1_000);
  proxy.always(() => "cut-before");
  await client.commit(reservationId, { quantity: 400, metadata: { model: "large" }, keepMs: 50 });
  await within("the commit to be handed over", handed);
  assert.equal(client.undeliveredCount, 0);
  const [one] = handedOver;
  assert(one?.call === "commit");
  assert.deepEqual(one.body, { reservationId, quantity: 400, metadata: { model: "large" } });
  assert.equal(one.error.code, "gateway_unavailable");
  const stored = JSON.stringify({ call: one.call, body: one.body, idempotencyKey: one.idempotencyKey });
  for (let times = 0; times < 2; times += 1) await connect().redeliver(JSON.parse(stored) as Repeatable);
  assert.deepEqual(await counter(userId), { used: 400, held: 0 });
});

test("a call that is refused in the background goes to onUndelivered with its reason", async () => {
  const { client, proxy, userId, handedOver, connect } = await behindProxy();
  const { reservationId } = await client.reserve(userId, "llm.tokens", 1_000);
  proxy.always(() => "cut-before");
  await client.commit(reservationId);
  await connect().release(reservationId);
  proxy.always(() => "pass");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual(handedOver.map((one) => [one.call, one.error.code]), [["commit", "reservation_not_pending"]]);
});

test("close passes the remaining calls to onUndelivered", async () => {
  const { client, proxy, userId, handedOver } = await behindProxy();
  const { reservationId } = await client.reserve(userId, "llm.tokens", 1_000);
  proxy.always(() => "cut-before");
  await client.commit(reservationId);
  await client.track(userId, "llm.tokens", 5, {}, { keep: true });
  await client.release("rsv_ffffffffffffffffffffffffffffffff");
  assert.equal(client.undeliveredCount, 3);
  await client.close(100);
  assert.deepEqual(handedOver.map((one) => one.call), ["commit", "track"]);
  assert.equal(client.undeliveredCount, 0);
});

test("a stored track counts once", async () => {
  const { client, proxy, userId, counter } = await behindProxy();
  proxy.always(() => "cut-after");
  const tracked = await client.track(userId, "llm.tokens", 5, {}, { keep: true });
  assert.deepEqual([tracked.counted, tracked.degraded], [false, true]);
  proxy.always(() => "pass");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual(await counter(userId), { used: 5, held: 0 });
});

test("without onUndelivered undelivered calls are written to the console", async (context) => {
  const { proxy, userId, connect } = await behindProxy();
  const lines: unknown[][] = [];
  context.mock.method(console, "error", (...words: unknown[]) => void lines.push(words));
  const client = connect({ baseUrl: proxy.url, retries: 0 });
  const { reservationId } = await client.reserve(userId, "llm.tokens", 1_000);
  proxy.always(() => "cut-before");
  await client.commit(reservationId, { quantity: 3 });
  await client.close(0);
  assert.equal(lines.length, 1);
  assert.match(String(lines[0]![0]), /a commit was not delivered/);
  assert.deepEqual((lines[0]![1] as { body: unknown }).body, { reservationId, quantity: 3 });
});

test("two hundred stored commits are delivered, and no call overtakes another of its reservation", async () => {
  const { client, proxy, userId, counter, handedOver } = await behindProxy();
  const reservations = await Promise.all(Array.from({ length: 20 }, () => client.reserve(userId, "llm.tokens", 20)));
  proxy.always(() => "bad-gateway");
  const commits = reservations.flatMap(({ reservationId }) => Array.from({ length: 10 }, (_, index) => client.commit(reservationId, { quantity: 1, final: index === 9 })));
  for (const { status } of await Promise.all(commits)) assert.equal(status, "undelivered");
  assert.equal(client.undeliveredCount, 200);
  proxy.always(() => "pass");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual(handedOver, []);
  assert.deepEqual(await counter(userId), { used: 200, held: 0 });
});
