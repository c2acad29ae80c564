import assert from "node:assert/strict";
import { test } from "node:test";
import { GatewayUnavailable, QuotagateError, type Undelivered } from "../src/index.js";
import { group, world } from "./support/gateway.js";
import { type Fault, startProxy } from "./support/proxy.js";
import { cueTimers, PATIENCE_MS, timeoutsOfSlowOnes, virtualTime } from "./support/timers.js";

const FAULTS: Fault[] = ["cut-before", "cut-after", "cut-within", "busy", "busy-after", "bad-gateway", "garbage", "garbage-json", "slow"];

/** A generator of pseudo-random numbers. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

for (const fault of FAULTS) {
  test(`${fault} is retried with the same idempotency key and counts once`, async (context) => {
    const { url, connect, user, counter } = await world([group("calls", 100, "api.call")]);
    const userId = await user("u_1");
    const proxy = await startProxy(url);
    const client = connect({ baseUrl: proxy.url, ...timeoutsOfSlowOnes(context, proxy) });
    proxy.next(fault);
    assert.equal((await client.track(userId, "api.call")).counted, true);
    proxy.next(fault);
    const { reservationId } = await client.reserve(userId, "api.call", 10);
    proxy.next(fault, fault);
    assert.equal((await client.commit(reservationId, { quantity: 7 })).status, "committed");
    assert.deepEqual(await counter(userId), { used: 8, held: 0 });

    const keys = (path: string) => proxy.seen.filter((one) => one.path.endsWith(path)).map((one) => one.idempotencyKey);
    const attempts = ["track", "reserve", "commit"].map((path) => keys(path).length);
    assert.deepEqual(attempts, [2, 2, 3]);
    assert.equal(new Set(keys("commit")).size, 1);
    assert.match(keys("commit")[0] ?? "", /^\S{16,}$/);
    assert.equal(new Set([...keys("track"), ...keys("reserve"), ...keys("commit")]).size, 3);
  });
}

test("a read is retried after too_many_reads", async () => {
  const { url, connect, user } = await world([group("calls", 100, "api.call")]);
  const userId = await user("u_1");
  const proxy = await startProxy(url);
  const client = connect({ baseUrl: proxy.url });
  proxy.next("too-many-reads", "too-many-reads");
  assert.equal((await client.usage(userId)).userId, userId);
  assert.equal(proxy.seen.length, 3);
  // A stream waits, too.
  proxy.next("too-many-reads");
  for await (const usage of client.watchUsage(userId)) {
    assert.equal(usage.userId, userId);
    break;
  }
  // With a limit of attempts, the error contains the reason.
  proxy.always(() => "too-many-reads");
  const impatient = connect({ baseUrl: proxy.url, retries: 1 });
  await assert.rejects(impatient.usage(userId), (error: QuotagateError) => error.code === "too_many_reads" && error.status === 429);
});

/** A third of the requests fail. Each path meets every fault once in as many requests as the deck has cards. */
function shuffledFaults(seed: number): (request: { path: string }) => Fault {
  const dice = random(seed);
  const cards: Fault[] = FAULTS.flatMap((fault) => [fault, "pass", "pass"]);
  const decks = new Map<string, Fault[]>();
  const shuffled = () => cards.map((fault) => ({ fault, at: dice() })).sort((one, other) => one.at - other.at).map(({ fault }) => fault);
  return ({ path }) => {
    let deck = decks.get(path) ?? [];
    if (deck.length === 0) decks.set(path, (deck = shuffled()));
    return deck.pop()!;
  };
}

test("every fault of every call ends with exactly the right counters", async (context) => {
  const { url, connect, client: direct, counter } = await world([group("calls", null, "api.call"), group("images", null, "image.*")]);
  const users = await Promise.all(Array.from({ length: 10 }, async (_, index) => {
    await direct.upsertSubscription({ userId: `u_${index}`, planId: "plan" });
    return `u_${index}`;
  }));
  const proxy = await startProxy(url);
  proxy.always(shuffledFaults(7));
  const undelivered: Undelivered[] = [];
  const client = connect({ baseUrl: proxy.url, ...timeoutsOfSlowOnes(context, proxy), retries: 40, onUndelivered: (one) => void undelivered.push(one) });

  const expected = new Map(users.map((userId) => [userId, { calls: 0, images: 0 }]));
  const operation = async (index: number): Promise<void> => {
    const userId = users[index % users.length]!;
    const counts = expected.get(userId)!;
    const amount = 1 + (index % 5);
    if (index % 4 === 0) {
      assert.equal((await client.track(userId, "api.call", amount)).counted, true);
      counts.calls += amount;
      return;
    }
    const { allowed, degraded, reservationId } = await client.reserve(userId, "image.render", amount);
    assert.deepEqual([allowed, degraded], [true, undefined]);
    if (index % 4 === 1) {
      await client.release(reservationId);
    } else if (index % 4 === 2) {
      await client.commit(reservationId);
      counts.images += amount;
    } else {
      await client.commit(reservationId, { quantity: 1, final: false });
      await client.commit(reservationId, { quantity: 2, final: false });
      await client.release(reservationId);
      counts.images += 3;
    }
  };
  let index = 0;
  const worker = async () => {
    while (index < 300) await operation(index++);
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  assert.equal(await client.flush(PATIENCE_MS), 0);

  assert.deepEqual(undelivered, []);
  for (const [userId, { calls, images }] of expected) {
    assert.deepEqual(await counter(userId, "calls"), { used: calls, held: 0 }, userId);
    assert.deepEqual(await counter(userId, "images"), { used: images, held: 0 }, userId);
  }
  for (const path of ["track", "reserve", "commit", "release"]) {
    for (const fault of FAULTS) assert(proxy.seen.some((one) => one.path.endsWith(path) && one.fault === fault), `${path}: ${fault}`);
  }
});

test("the client waits for Retry-After, but not past the deadline", async (context) => {
  const { url, connect, user } = await world([group("calls", 100, "api.call")]);
  const userId = await user("u_1");
  const answers = ["7", "3600"];
  const client = connect({
    baseUrl: url,
    fetch: async (input, init) => {
      const retryAfter = answers.shift();
      return retryAfter === undefined ? fetch(input, init) : new Response("{}", { status: 503, headers: { "retry-after": retryAfter } });
    },
  });
  const wait = cueTimers(context, (ms) => ms >= 7_000 && ms < 8_000);
  const tracked = assert.rejects(client.track(userId, "api.call"), GatewayUnavailable);
  await wait.next();
  await tracked;
  assert.deepEqual(answers, []);
});

test("a refused call is not retried", async () => {
  const { url, connect } = await world([group("calls", 100, "api.call")]);
  const proxy = await startProxy(url);
  await assert.rejects(connect({ baseUrl: proxy.url }).reserve("u_1", "api.call", -1), (error) => error instanceof QuotagateError && error.status === 400);
  await assert.rejects(connect({ baseUrl: proxy.url, apiKey: "sk_test_wrong" }).usage("u_1"), (error) => error instanceof QuotagateError && error.code === "invalid_key");
  assert.equal(proxy.seen.length, 2);
});

test("without an answer onUnavailable decides, and the result is degraded", async () => {
  const { url, connect, user, counter } = await world([group("calls", 100, "api.call")]);
  const userId = await user("u_1");
  const proxy = await startProxy(url);
  proxy.always(() => "cut-before");
  const options = { baseUrl: proxy.url, retries: 1 };
  const denied = await connect(options).reserve(userId, "api.call");
  assert.deepEqual([denied.allowed, denied.degraded, denied.reasons], [false, true, ["gateway_unavailable"]]);
  const allowing = connect({ ...options, onUnavailable: "allow" });
  const allowed = await allowing.reserve(userId, "api.call");
  assert.deepEqual([allowed.allowed, allowed.degraded, allowed.reasons, allowed.reservationId], [true, true, [], undefined]);
  assert.deepEqual([await allowing.can(userId, "api.call"), await connect(options).can(userId, "api.call")], [true, false]);
  await assert.rejects(connect({ ...options, throwOnDeny: true }).reserve(userId, "api.call"), GatewayUnavailable);
  await assert.rejects(allowing.usage(userId), GatewayUnavailable);
  assert.deepEqual(await counter(userId), { used: 0, held: 0 });
});

test("the deadline holds if every attempt hangs and fetch ignores its signal", async (context) => {
  const { url, connect } = await world([group("calls", 100, "api.call")]);
  // The client's timers: no other timer is as short.
  const time = virtualTime(context, (ms) => ms <= 400);
  let attempts = 0;
  const client = connect({ baseUrl: url, timeoutMs: 50, deadlineMs: 400, retries: 10_000, fetch: () => new Promise(() => (attempts += 1)) });
  assert.equal((await client.reserve("u_1", "api.call")).degraded, true);
  assert(time.now() <= 400 && attempts >= 2, `${attempts} attempts in ${time.now()} ms`);
});

test("deleting what an earlier attempt has deleted is a success", async () => {
  const { url, app, admin, connect } = await world([group("calls", 100, "api.call")]);
  const proxy = await startProxy(url);
  const { id } = await admin.admin.keys.create({ kind: "secret", mode: "test" });
  const { ROOT_KEY } = await import("./support/gateway.js");
  const throughProxy = connect({ apiKey: ROOT_KEY, app, baseUrl: proxy.url });
  proxy.next("cut-after");
  await throughProxy.admin.keys.revoke(id);
  await assert.rejects(throughProxy.admin.keys.revoke(id), (error) => error instanceof QuotagateError && error.status === 404);
});
