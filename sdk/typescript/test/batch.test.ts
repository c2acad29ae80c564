import assert from "node:assert/strict";
import { test } from "node:test";
import { GatewayUnavailable, LimitReached, type Operation, QuotagateError, type Undelivered } from "../src/index.js";
import { group, world } from "./support/gateway.js";
import { type Fault, startProxy } from "./support/proxy.js";
import { PATIENCE_MS } from "./support/timers.js";

async function behindProxy() {
  const base = await world([group("tokens", 10_000, "llm.tokens", { unit: "tokens" })]);
  const userId = await base.user("u_1");
  const proxy = await startProxy(base.url);
  const handedOver: Undelivered[] = [];
  const client = base.connect({ baseUrl: proxy.url, retries: 1, onUndelivered: (one) => void handedOver.push(one) });
  const paths = () => proxy.seen.map(({ path }) => path.replace("/api/v1/", ""));
  return { ...base, userId, proxy, client, handedOver, paths };
}

/** Reservations whose commits wait in the background until the proxy lets requests through. */
async function waiting({ client, proxy, userId }: Awaited<ReturnType<typeof behindProxy>>, count: number): Promise<string[]> {
  const reserved = await Promise.all(Array.from({ length: count }, () => client.reserve(userId, "llm.tokens", 10)));
  proxy.always(() => "bad-gateway");
  const kept = await Promise.all(reserved.map(({ reservationId }) => client.commit(reservationId, { quantity: 4 })));
  assert(kept.every(({ status }) => status === "undelivered"));
  proxy.seen.length = 0;
  return reserved.map(({ reservationId }) => reservationId!);
}

test("a batch answers each operation as its call does, and a failed one has its own error", async () => {
  const { client, counter, user } = await world([group("tokens", 1_000, "llm.tokens", { unit: "tokens" })]);
  const userId = await user("u_1");
  const { reservationId } = await client.reserve(userId, "llm.tokens", 100);
  const results = await client.batch([
    { op: "reserve", userId, event: "llm.tokens", quantity: "50" },
    { op: "reserve", userId, event: "llm.tokens", quantity: 5_000 },
    { op: "commit", reservationId: reservationId!, quantity: 60 },
    { op: "track", userId, event: "llm.tokens", quantity: 7 },
    { op: "track", userId, event: "llm.tokens", quantity: 7_000, enforce: true },
    { op: "can-use", userId, event: "llm.tokens" },
    { op: "extend", reservationId: "rsv_nothing", ttlSeconds: 60 },
    { op: "reserve", userId, event: "" },
  ]);
  const [held, denied, committed, tracked, refused, may, unknown, wrong] = results;
  assert(held.ok && held.body.allowed && held.body.reservationId);
  assert(denied.ok && !denied.body.allowed && denied.body.reasons[0] === "limit_reached");
  assert(committed.ok && committed.body.status === "committed");
  assert(tracked.ok && tracked.body.counted && tracked.body.eventId);
  assert(refused.ok && refused.status === 429 && !refused.body.counted && refused.body.decision?.allowed === false);
  assert(may.ok && may.body.allowed && may.body.details.length === 1);
  assert(!unknown.ok && unknown.error.code === "not_found");
  assert(!wrong.ok && wrong.error instanceof QuotagateError && wrong.error.errors[0]?.field === "event");
  assert.deepEqual(await counter(userId), { used: 67, held: 50 });
  assert.equal((await client.release(held.body.reservationId)).status, "released");
});

test("a batch without operations, or with too many, is refused as a whole", async () => {
  const { client, user } = await world([group("tokens", 1_000, "llm.tokens")]);
  const operation: Operation = { op: "track", userId: await user("u_1"), event: "llm.tokens" };
  for (const count of [0, 101]) {
    await assert.rejects(client.batch(Array<Operation>(count).fill(operation)), { code: "invalid_request", status: 400 });
  }
  await assert.rejects(client.batch([{ ...operation, quantity: NaN }]), { code: "invalid_request" });
});

test("a retried batch counts nothing twice", async () => {
  const { client, proxy, userId, counter, paths } = await behindProxy();
  proxy.next("cut-after");
  const results = await client.batch([
    { op: "track", userId, event: "llm.tokens", quantity: 5 },
    { op: "track", userId, event: "llm.tokens", quantity: 6, idempotencyKey: "mine" },
  ]);
  assert(results.every((result) => result.ok && result.replayed));
  assert.deepEqual(paths(), ["batch", "batch"]);
  assert.deepEqual(await counter(userId), { used: 11, held: 0 });
  const alone = await client.track(userId, "llm.tokens", 6, undefined, { idempotencyKey: "mine" });
  assert.equal(results[1].ok && results[1].body.eventId, alone.eventId);
});

test("without a usable answer a batch throws", async () => {
  const { client, proxy, userId } = await behindProxy();
  for (const fault of ["cut-before", "garbage", "garbage-json", "busy"] satisfies Fault[]) {
    proxy.always(() => fault);
    await assert.rejects(client.batch([{ op: "track", userId, event: "llm.tokens" }]), GatewayUnavailable, fault);
  }
});

test("an operation does not overtake a waiting draw of its reservation", async () => {
  const { client, proxy, userId, counter } = await behindProxy();
  const { reservationId } = await client.reserve(userId, "llm.tokens", 1_000);
  proxy.always(() => "cut-before");
  await client.commit(reservationId, { quantity: 100, final: false });
  proxy.always(({ path }) => (path.endsWith("commit") ? "cut-before" : "pass"));
  const [release, track] = await client.batch([
    { op: "release", reservationId: reservationId! },
    { op: "track", userId, event: "llm.tokens", quantity: 1 },
  ]);
  assert(!release.ok && release.error instanceof GatewayUnavailable);
  assert(track.ok);
  proxy.always(() => "pass");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.equal((await client.release(reservationId)).status, "released");
  assert.deepEqual(await counter(userId), { used: 101, held: 0 });
});

test("waiting calls are sent in batches, and a single one alone", async () => {
  const base = await behindProxy();
  await waiting(base, 130);
  const { client, proxy, counter, userId, handedOver } = base;
  proxy.always(() => "pass");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  const passed = proxy.seen.filter(({ fault }) => fault === "pass");
  // The client's own next round may have started with the first waiting calls.
  const sizes = passed.map(({ body }) => (JSON.parse(body) as { operations?: unknown[] }).operations?.length ?? 1);
  assert.equal(sizes.reduce((sum, size) => sum + size), 130);
  assert(sizes.length <= 5 && Math.max(...sizes) <= 100, sizes.join());
  assert.deepEqual(await counter(userId), { used: 520, held: 0 });
  await waiting(base, 1);
  proxy.always(() => "pass");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.equal(proxy.seen.find(({ fault }) => fault === "pass")?.path, "/api/v1/commit");
  assert.deepEqual([handedOver, await counter(userId)], [[], { used: 524, held: 0 }]);
});

test("a batch whose answer is lost is retried and counts once", async () => {
  const base = await behindProxy();
  const { client, proxy, counter, userId, handedOver } = base;
  await waiting(base, 5);
  await client.track(userId, "llm.tokens", 3, {}, { keep: true });
  proxy.always(() => "pass");
  proxy.next("cut-after", "busy-after", "cut-within");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual([handedOver, await counter(userId)], [[], { used: 23, held: 0 }]);
});

test("a refused operation of a batch goes to onUndelivered with its reason, and the rest counts", async () => {
  const base = await behindProxy();
  const { client, proxy, counter, userId, handedOver, connect } = base;
  const [first, second] = await waiting(base, 3);
  await client.track(userId, "llm.tokens", 50_000, {}, { keep: true, enforce: true });
  await connect().release(first);
  await connect().commit(second, { quantity: 4 });
  proxy.always(() => "pass");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual(handedOver.map(({ call, error }) => [call, error.code]), [["commit", "reservation_not_pending"], ["track", "limit_reached"]]);
  assert(handedOver[1]!.error instanceof LimitReached);
  assert.deepEqual(await counter(userId), { used: 8, held: 0 });
});

test("a gateway without batches gets each call alone", async () => {
  const base = await behindProxy();
  const { client, proxy, counter, userId, handedOver, connect, paths } = base;
  const [first] = await waiting(base, 12);
  await connect().release(first);
  proxy.always(({ path }) => (path.endsWith("batch") ? "not-found" : "pass"));
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert(paths().filter((path) => path === "commit").length >= 12 && paths().includes("batch"));
  assert.deepEqual(handedOver.map(({ call, error }) => [call, error.code]), [["commit", "reservation_not_pending"]]);
  assert.deepEqual(await counter(userId), { used: 44, held: 0 });
});

test("in a batch no call overtakes a failed one of its reservation", async () => {
  const { client, proxy, counter, userId, handedOver } = await behindProxy();
  const [first, second] = await Promise.all([client.reserve(userId, "llm.tokens", 100), client.reserve(userId, "llm.tokens", 10)]);
  proxy.always(() => "bad-gateway");
  await client.commit(first.reservationId, { quantity: 30, final: false });
  await client.release(first.reservationId);
  await client.commit(second.reservationId, { quantity: 4 });
  proxy.always(() => "pass");
  proxy.next("first-not-done");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual([handedOver, await counter(userId)], [[], { used: 34, held: 0 }]);
});

test("while the gateway runs too many batches, calls wait and are not sent one by one", async () => {
  const base = await behindProxy();
  const { client, proxy, counter, userId, handedOver, paths } = base;
  await waiting(base, 4);
  proxy.always(() => "pass");
  proxy.next("too-many-reads", "too-many-reads");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual([paths().includes("commit"), handedOver, await counter(userId)], [false, [], { used: 16, held: 0 }]);
});

test("close sends waiting calls in a batch and passes the rest to onUndelivered", async () => {
  const base = await behindProxy();
  await waiting(base, 3);
  base.proxy.always(() => "pass");
  await base.client.close(PATIENCE_MS);
  assert.deepEqual([base.handedOver, await base.counter(base.userId)], [[], { used: 12, held: 0 }]);
  await waiting(base, 3);
  await base.client.close(50);
  assert.deepEqual(base.handedOver.map(({ call, error }) => [call, error.code]), Array(3).fill(["commit", "gateway_unavailable"]));
});
