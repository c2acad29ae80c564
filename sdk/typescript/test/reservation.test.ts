import assert from "node:assert/strict";
import { test } from "node:test";
import { GatewayUnavailable, LimitReached, type Reservation, type Undelivered } from "../src/index.js";
import { group, world } from "./support/gateway.js";
import { startProxy } from "./support/proxy.js";
import { cueTimers, PATIENCE_MS } from "./support/timers.js";

const tokens = () => world([group("tokens", 10_000, "llm.tokens", { unit: "tokens" }), group("cents", null, "llm.tokens", {
  unit: "cents",
  measure: { per: { prompt_tokens: "0.1", completion_tokens: "0.3" }, estimate: { prompt_tokens: 100, completion_tokens: 1000 } },
})].map((one) => (one.id === "tokens" ? { ...one, measure: "quantity" as const } : one)));

const request = (userId: string) => ({ userId, event: "llm.tokens", quantity: 4_000 });

test("withReservation commits the exact sum of the reported usage", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  const text = await client.withReservation(request(userId), async (r) => {
    assert.deepEqual(await counter(userId), { used: 0, held: 4_000 });
    r.use({ quantity: 300, prompt_tokens: 100 }).use({ quantity: 12, completion_tokens: 200 }).tag({ model: "large" });
    return "hello";
  });
  assert.equal(text, "hello");
  assert.deepEqual(await counter(userId), { used: 312, held: 0 });
  assert.deepEqual(await counter(userId, "cents"), { used: 70, held: 0 });
});

test("fractions add up to the unit's step", async () => {
  const { client, user, counter } = await world([group("spend", 10, "spend", { unit: "cents" })]);
  const userId = await user("u_1");
  await client.withReservation({ userId, event: "spend", quantity: "1.5" }, (r) => void r.use(0.1).use(0.2));
  assert.deepEqual(await counter(userId), { used: 0.3, held: 0 });
});

test("without a report the whole hold is charged, with 0 nothing", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  await client.withReservation(request(userId), () => "ok");
  assert.deepEqual(await counter(userId), { used: 4_000, held: 0 });
  await client.withReservation(request(userId), (r) => void r.use(0));
  assert.deepEqual(await counter(userId), { used: 4_000, held: 0 });
});

test("an error releases the hold and reaches the caller", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  const fault = new TypeError("the provider fell over");
  await assert.rejects(client.withReservation(request(userId), (r) => {
    r.use(500);
    throw fault;
  }), (error) => error === fault);
  assert.deepEqual(await counter(userId), { used: 0, held: 0 });
  await assert.rejects(client.withReservation({ ...request(userId), onError: "commit" }, (r) => {
    r.use(500);
    throw fault;
  }), (error) => error === fault);
  assert.deepEqual(await counter(userId), { used: 500, held: 0 });
});

test("a denial is thrown before the function runs", async () => {
  const { client, user } = await tokens();
  const userId = await user("u_1");
  let ran = false;
  await assert.rejects(client.withReservation({ ...request(userId), quantity: 10_001 }, () => void (ran = true)), (error) => {
    assert(error instanceof LimitReached);
    assert.equal(error.decision.deniedBy[0]?.groupId, "tokens");
    return true;
  });
  assert.equal(ran, false);
});

test("cancelling releases the hold, even if the function ignores its signal", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  for (const heeds of [true, false]) {
    const controller = new AbortController();
    const running = client.withReservation({ ...request(userId), signal: controller.signal }, async (r) => {
      controller.abort(new Error("the user left"));
      await new Promise((_, reject) => heeds && r.signal.aborted && reject(r.signal.reason as Error));
    });
    await assert.rejects(running, /the user left/);
    assert.deepEqual(await counter(userId), { used: 0, held: 0 });
  }
});

test("cancelling during the reserve releases its hold", async () => {
  const { url, connect, user, counter } = await tokens();
  const userId = await user("u_1");
  const proxy = await startProxy(url);
  const client = connect({ baseUrl: proxy.url });
  const controller = new AbortController();
  proxy.always(({ path }) => {
    if (path.endsWith("reserve")) controller.abort(new Error("gone"));
    return "pass";
  });
  await assert.rejects(client.withReservation({ ...request(userId), signal: controller.signal }, () => assert.fail("must not run")), /gone/);
  await proxy.until((seen) => seen.some((one) => one.path.endsWith("release")));
  assert.deepEqual(await counter(userId), { used: 0, held: 0 });
  await assert.rejects(client.reserve(userId, "llm.tokens", 1, {}, { signal: controller.signal }), /gone/);
});

test("a heartbeat extends the hold beyond its time to live", async (context) => {
  const { url, admin, connect, user, counter } = await tokens();
  const { testClock } = admin.admin;
  let now = Date.UTC(2026, 11, 1);
  await testClock.set(new Date(now));
  const userId = await user("u_1");
  const proxy = await startProxy(url);
  const client = connect({ baseUrl: proxy.url });
  const beats = () => proxy.seen.filter((one) => one.path.endsWith("extend")).length;
  // Three beats within an hour.
  const heartbeat = cueTimers(context, (ms) => ms === 1_200_000);
  await client.withReservation({ ...request(userId), ttlSeconds: 3_600 }, async (r) => {
    // The answer to the first beat is lost, and the beat is retried.
    proxy.next("cut-after");
    for (let beat = 1; beat <= 5; beat += 1) {
      await testClock.set(new Date((now += 1_200_000)));
      await heartbeat.next();
      await proxy.until(() => beats() > beat);
    }
    // After 100 minutes of a hold of 60.
    assert.deepEqual(await counter(userId), { used: 0, held: 4_000 });
    r.use(10);
  });
  assert.deepEqual(await counter(userId), { used: 10, held: 0 });
  assert.deepEqual([beats(), heartbeat.waiting.size], [6, 0]);
});

test("draws charge at once, and the rest is released", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  await client.withReservation(request(userId), async (r) => {
    await r.draw(100);
    r.use(20);
    await r.draw(30);
    assert.deepEqual(await counter(userId), { used: 150, held: 3_850 });
  });
  assert.deepEqual(await counter(userId), { used: 150, held: 0 });
  await client.withReservation(request(userId), async (r) => {
    await r.draw(100);
    r.use(7);
  });
  assert.deepEqual(await counter(userId), { used: 257, held: 0 });
});

test("without the gateway the function runs only with onUnavailable allow, and is counted later", async () => {
  const { url, connect, user, counter } = await tokens();
  const userId = await user("u_1");
  const proxy = await startProxy(url);
  proxy.always(() => "cut-before");
  const work = (r: Reservation) => {
    assert.equal(r.degraded, true);
    r.use({ quantity: 42, prompt_tokens: 10, completion_tokens: 0 });
  };
  await assert.rejects(connect({ baseUrl: proxy.url, retries: 0 }).withReservation(request(userId), work), GatewayUnavailable);
  const client = connect({ baseUrl: proxy.url, retries: 0, onUnavailable: "allow" });
  await client.withReservation(request(userId), work);
  proxy.always(() => "pass");
  assert.equal(await client.flush(PATIENCE_MS), 0);
  assert.deepEqual(await counter(userId), { used: 42, held: 0 });
  assert.deepEqual(await counter(userId, "cents"), { used: 1, held: 0 });
});

test("a refused commit does not lose the result, and goes to onUndelivered", async () => {
  const { connect, admin, user } = await tokens();
  const userId = await user("u_1");
  await admin.admin.testClock.set("2026-12-01T10:00:00Z");
  const handedOver: Undelivered[] = [];
  const client = connect({ onUndelivered: (one) => void handedOver.push(one) });
  const result = await client.withReservation(request(userId), async (r) => {
    await admin.admin.testClock.set("2026-12-01T11:00:00Z");
    r.use(5);
    return "result";
  });
  assert.equal(result, "result");
  assert.deepEqual(handedOver.map((one) => [one.error.code, one.body]), [["reservation_expired", { ...handedOver[0]!.body, quantity: 5 }]]);
  await assert.rejects(client.withReservation(request(userId), (r) => void r.use(-5)), RangeError);
  await client.withReservation({ ...request(userId), quantity: 1 }, (r) => void r.use(0.5));
  assert.deepEqual(handedOver.slice(1).map((one) => [one.error.code, one.error.status]), [["invalid_request", 400]]);
});

test("a reservation says what was fitted, and charges it without a report", async () => {
  const measure = { per: { completion_tokens: "1" } };
  const { client, user, settled } = await world([group("tokens", 3_000, "llm.*", { unit: "tokens", measure })]);
  const userId = await user("u_1");
  const request = { userId, event: "llm.chat", metadata: { completion_tokens: 2_000 }, fit: { field: "completion_tokens", min: 256 } };
  const values: unknown[] = [];
  for (let call = 0; call < 2; call += 1) {
    await client.withReservation(request, (r) => void values.push(r.fitted?.completion_tokens));
  }
  assert.deepEqual(values, [2_000, 1_000]);
  assert.equal(await settled(userId), 3_000);
  await assert.rejects(client.withReservation(request, () => "never"), LimitReached);
});
