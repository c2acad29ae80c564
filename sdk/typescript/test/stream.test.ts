import assert from "node:assert/strict";
import { test } from "node:test";
import { LimitReached } from "../src/index.js";
import { group, world } from "./support/gateway.js";
import { startProxy } from "./support/proxy.js";
import { cueTimers } from "./support/timers.js";

const tokens = () => world([group("tokens", 10_000, "llm.tokens", { unit: "tokens" })]);
const request = (userId: string) => ({ userId, event: "llm.tokens", quantity: 4_000 });

async function* numbers(last: number, closed?: () => void): AsyncGenerator<number> {
  try {
    for (let number = 1; number <= last; number += 1) yield number;
  } finally {
    closed?.();
  }
}

test("a stream that is read to its end is charged for its chunks", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  const stream = await client.streamWithReservation(request(userId), () => numbers(10), { count: (chunk) => chunk });
  const read: number[] = [];
  for await (const chunk of stream) read.push(chunk);
  await stream.settled;
  assert.deepEqual(read, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(await counter(userId), { used: 55, held: 0 });
});

test("a consumer that stops early is charged for what it received, and the source is closed", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  let closed = false;
  const stream = await client.streamWithReservation(request(userId), () => numbers(10, () => (closed = true)), { count: (chunk) => chunk });
  for await (const chunk of stream) if (chunk === 3) break;
  assert.equal(closed, true);
  assert.deepEqual(await counter(userId), { used: 6, held: 0 });
  assert.equal((await stream.next()).done, true);
});

test("a source that fails is charged for the chunks before the failure", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  async function* failing(after: number) {
    yield* numbers(after);
    throw new Error("provider");
  }
  for (const [after, used] of [[4, 10], [0, 10]] as const) {
    const stream = await client.streamWithReservation(request(userId), () => failing(after), { count: (chunk) => chunk });
    await assert.rejects(async () => {
      for await (const _ of stream);
    }, /provider/);
    assert.deepEqual(await counter(userId), { used, held: 0 });
  }
  const never = await client.streamWithReservation(request(userId), () => Promise.reject(new Error("no stream")));
  await assert.rejects(never.next(), /no stream/);
  assert.deepEqual(await counter(userId), { used: 10, held: 0 });
});

test("a count that throws ends the stream, which is charged for what was counted", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  const count = (chunk: number): number => {
    if (chunk === 3) throw new Error("uncountable");
    return chunk;
  };
  const stream = await client.streamWithReservation(request(userId), () => numbers(10), { count });
  await assert.rejects(async () => {
    for await (const _ of stream);
  }, /uncountable/);
  assert.deepEqual(await counter(userId), { used: 3, held: 0 });
});

test("cancelling charges for what was produced, even if the source hangs", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  const controller = new AbortController();
  async function* hanging() {
    yield 7;
    await new Promise(() => {});
  }
  const stream = await client.streamWithReservation({ ...request(userId), signal: controller.signal }, hanging, { count: (chunk: number) => chunk });
  assert.deepEqual(await stream.next(), { done: false, value: 7 });
  const next = stream.next();
  controller.abort(new Error("the user left"));
  await assert.rejects(next, /the user left/);
  await stream.settled;
  assert.deepEqual(await counter(userId), { used: 7, held: 0 });
  await assert.rejects(stream.next(), /the user left/);
});

test("exact figures replace the running count", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  const stream = await client.streamWithReservation(
    request(userId),
    async function* (r) {
      yield* numbers(3);
      r.total(100);
    },
    { count: () => 1 },
  );
  for await (const _ of stream);
  assert.deepEqual(await counter(userId), { used: 100, held: 0 });
});

test("without a count the whole hold is charged after the first chunk", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  const stream = await client.streamWithReservation(request(userId), () => numbers(10));
  await stream.next();
  await stream.return!();
  assert.deepEqual(await counter(userId), { used: 4_000, held: 0 });
});

test("web streams as source and result: cancelling the result stops the source", async () => {
  const { client, user, counter } = await tokens();
  const userId = await user("u_1");
  let next = 0;
  let cancelled = false;
  const source = () => new ReadableStream<number>({ pull: (controller) => controller.enqueue((next += 1)), cancel: () => void (cancelled = true) });
  const stream = await client.streamWithReservation(request(userId), source, { count: () => 5 });
  const reader = stream.toReadableStream().getReader();
  await reader.read();
  await reader.read();
  await reader.cancel();
  await stream.settled;
  const { used, held } = await counter(userId);
  assert.equal(cancelled, true);
  assert.equal(held, 0);
  // The web stream reads one chunk ahead.
  assert(used === 10 || used === 15, `${used}`);
});

test("a denial is thrown before the stream starts", async () => {
  const { client, user } = await tokens();
  const userId = await user("u_1");
  await assert.rejects(client.streamWithReservation({ ...request(userId), quantity: 10_001 }, () => numbers(1)), LimitReached);
});

test("the hold is extended while the stream is read, and not if it is abandoned", async (context) => {
  const { url, admin, connect, user, counter, settled } = await tokens();
  const { testClock } = admin.admin;
  let now = Date.UTC(2026, 11, 1);
  await testClock.set(new Date(now));
  const userId = await user("u_1");
  const proxy = await startProxy(url);
  const client = connect({ baseUrl: proxy.url });
  const beats = () => proxy.seen.filter((one) => one.path.endsWith("extend")).length;
  // Three beats within an hour.
  const heartbeat = cueTimers(context, (ms) => ms === 1_200_000);
  async function* slow() {
    yield 1;
    await proxy.until(() => beats() >= 4);
    yield 1;
  }
  const stream = await client.streamWithReservation({ ...request(userId), ttlSeconds: 3_600 }, slow, { count: () => 1 });
  await stream.next();
  const second = stream.next();
  for (let beat = 1; beat <= 4; beat += 1) {
    await testClock.set(new Date((now += 1_200_000)));
    await heartbeat.next();
    await proxy.until(() => beats() >= beat);
  }
  await second;
  // After four beats without a read, the heartbeat stops, and the hold expires.
  for (let beat = 1; beat <= 4; beat += 1) await heartbeat.next();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([beats(), heartbeat.waiting.size], [4, 0]);
  await testClock.set(new Date(now + 3_660_000));
  await settled(userId);
  await stream.return!();
  assert.deepEqual(await counter(userId), { used: 2, held: 0 });
});
