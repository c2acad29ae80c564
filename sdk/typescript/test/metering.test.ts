import assert from "node:assert/strict";
import { test } from "node:test";
import { type Item, LimitReached, QuotagateError } from "../src/index.js";
import { group, world } from "./support/gateway.js";
import { startProxy } from "./support/proxy.js";

const refused = (code: string, status: number) => (error: unknown) => {
  assert(error instanceof QuotagateError, String(error));
  assert.deepEqual([error.code, error.status], [code, status]);
  assert(error.message.length > 0);
  return true;
};

test("reserve holds, commit makes the hold used, release returns it", async () => {
  const { client, user, counter } = await world([group("images", 20, "image.*")]);
  const userId = await user("u_1");
  const first = await client.reserve(userId, "image.render");
  assert.equal(first.allowed, true);
  assert.deepEqual(first.matchedGroupIds, ["images"]);
  assert.equal(first.counters[0]?.remaining, 19);
  assert.deepEqual(await counter(userId), { used: 0, held: 1 });

  const committed = await client.commit(first.reservationId);
  assert.equal(committed.status, "committed");
  assert.deepEqual(await counter(userId), { used: 1, held: 0 });

  const second = await client.reserve(userId, "image.render", 5);
  assert.deepEqual(await counter(userId), { used: 1, held: 5 });
  assert.equal((await client.release(second.reservationId, { reason: "test" })).status, "released");
  assert.deepEqual(await counter(userId), { used: 1, held: 0 });
});

test("a denial is a result, or an error with throwOnDeny", async () => {
  const onLimit = { message: "All used", upgradeUrl: "https://example.com/upgrade" };
  const { client, connect, user, counter } = await world([group("images", 2, "image.*", { onLimit })]);
  const userId = await user("u_1");
  await client.track(userId, "image.render");
  const denied = await client.reserve(userId, "image.render", 2);
  assert.equal(denied.allowed, false);
  assert.deepEqual(denied.reasons, ["limit_reached"]);
  assert.deepEqual([denied.deniedBy[0]?.requested, denied.deniedBy[0]?.remaining], [2, 1]);
  assert.deepEqual(denied.deniedBy[0]?.onLimit, onLimit);

  const throwing = connect({ throwOnDeny: true });
  await assert.rejects(throwing.reserve(userId, "image.render", 2), (error) => {
    assert(error instanceof LimitReached);
    assert.deepEqual([error.code, error.status], ["limit_reached", 429]);
    assert.equal(error.decision.deniedBy[0]?.groupId, "images");
    assert.equal(error.message, "Limit reached: images (2 requested, 1 left)");
    assert((error.retryAfterMs ?? 0) > 0);
    return true;
  });
  assert.deepEqual(await counter(userId), { used: 1, held: 0 });
});

test("commit with actual figures, draws, and a longer hold", async () => {
  const { client, user, counter } = await world([group("tokens", 10_000, "llm.tokens", { unit: "tokens" })]);
  const userId = await user("u_1");
  const { reservationId } = await client.reserve(userId, "llm.tokens", 4_000, { model: "large" }, { ttlSeconds: 30 });
  assert.equal((await client.commit(reservationId, { quantity: 500, final: false })).status, "held");
  assert.deepEqual(await counter(userId), { used: 500, held: 3_500 });
  const longer = await client.extend(reservationId!, { ttlSeconds: 600, quantity: 1_000 });
  assert.equal(longer.allowed, true);
  assert.deepEqual(await counter(userId), { used: 500, held: 4_500 });
  const beyond = await client.extend(reservationId!, { quantity: 9_000 });
  assert.deepEqual([beyond.allowed, beyond.reasons], [false, ["limit_reached"]]);
  await client.commit(reservationId, { quantity: "250" });
  assert.deepEqual(await counter(userId), { used: 750, held: 0 });
});

test("release accepts settled and expired reservations, and rejects unknown ones", async () => {
  const { client, admin, user, counter } = await world([group("images", 20, "image.*")]);
  const userId = await user("u_1");
  await admin.admin.testClock.set("2026-12-01T10:00:00Z");
  const settled = await client.reserve(userId, "image.render");
  await client.commit(settled.reservationId);
  assert.equal((await client.release(settled.reservationId)).status, "settled");
  assert.deepEqual(await counter(userId), { used: 1, held: 0 });

  const expired = await client.reserve(userId, "image.render");
  await admin.admin.testClock.set("2026-12-01T10:01:00Z");
  assert.equal((await client.release(expired.reservationId)).status, "expired");
  assert.deepEqual(await counter(userId), { used: 1, held: 0 });

  await assert.rejects(client.release("rsv_00000000000000000000000000000000"), refused("not_found", 404));
});

test("a late commit is recorded as late; after the grace it is refused", async () => {
  const { client, admin, user, counter } = await world([group("images", 20, "image.*")]);
  const userId = await user("u_1");
  await admin.admin.testClock.set("2026-12-01T10:00:00Z");
  const late = await client.reserve(userId, "image.render");
  const never = await client.reserve(userId, "image.render");
  await admin.admin.testClock.set("2026-12-01T10:02:00Z");
  await assert.rejects(client.commit(late.reservationId, { ifExpired: "reject" }), refused("reservation_expired", 410));
  assert.equal((await client.commit(late.reservationId)).late, true);
  await admin.admin.testClock.set("2026-12-01T10:30:00Z");
  await assert.rejects(client.commit(never.reservationId), refused("reservation_expired", 410));
  assert.deepEqual(await counter(userId), { used: 1, held: 0 });
});

test("track counts past the quota; with enforce only if there is room", async () => {
  const { client, connect, user, counter } = await world([group("calls", 2, "api.call", { enforcement: "soft" }), group("hard", 1, "hard.call")]);
  const userId = await user("u_1");
  const tracked = await client.track(userId, "api.call", 3);
  assert.deepEqual([tracked.counted, tracked.counters[0]?.overage], [true, 1]);
  assert.equal(typeof tracked.eventId, "string");

  assert.equal((await client.track(userId, "hard.call", 1, {}, { enforce: true })).counted, true);
  const refusedTrack = await client.track(userId, "hard.call", 1, {}, { enforce: true });
  assert.deepEqual([refusedTrack.counted, refusedTrack.matchStatus], [false, "over_limit"]);
  assert.deepEqual(refusedTrack.decision?.reasons, ["limit_reached"]);
  assert.equal(refusedTrack.eventId, undefined);
  await assert.rejects(connect({ throwOnDeny: true }).track(userId, "hard.call", 1, {}, { enforce: true }), LimitReached);
  assert.deepEqual(await counter(userId, "hard"), { used: 1, held: 0 });

  await client.track(userId, "api.call.refund", 2);
  assert.deepEqual(await counter(userId, "calls"), { used: 1, held: 0 });
});

test("without a reservation there is nothing to settle", async () => {
  const { client, admin, connect, url, user } = await world([group("images", 2, "image.*")]);
  await admin.admin.plans.put("open", { unmatchedEvents: "allow", groups: [group("open_images", 2, "image.*")] });
  const userId = await user("u_1", "open");
  const unmatched = await client.reserve(userId, "other.event");
  assert.deepEqual([unmatched.allowed, unmatched.matched], [true, false]);
  assert.equal((await client.commit(unmatched.reservationId)).status, "unmetered");
  assert.equal((await client.release(unmatched.reservationId)).status, "unmetered");
  assert.equal(await client.withReservation({ userId, event: "other.event" }, (r) => r.use(1).reservationId), undefined);
  const proxy = await startProxy(url);
  proxy.always(() => "cut-before");
  const unreachable = connect({ baseUrl: proxy.url, retries: 0, onUnavailable: "allow" });
  const degraded = await unreachable.reserve(userId, "image.render");
  assert.deepEqual([degraded.allowed, (await unreachable.commit(degraded.reservationId)).status], [true, "unmetered"]);
  assert.equal(unreachable.undeliveredCount, 0);
});

test("several events are held together or not at all, and settled together", async () => {
  const { client, user, counter } = await world([group("images", 5, "image.*"), group("tokens", 1_000, "llm.*", { unit: "tokens" })]);
  const userId = await user("u_1");
  const r = await client.reserveItems(userId, [{ event: "image.render" }, { event: "llm.tokens", quantity: 900, metadata: { model: "a" } }]);
  assert.deepEqual([r.allowed, [...r.matchedGroupIds].sort()], [true, ["images", "tokens"]]);
  assert.deepEqual(await counter(userId, "tokens"), { used: 0, held: 900 });
  await client.commit(r.reservationId, { items: [{}, { quantity: 640 }] });
  assert.deepEqual(await counter(userId, "images"), { used: 1, held: 0 });
  assert.deepEqual(await counter(userId, "tokens"), { used: 640, held: 0 });
  const denied = await client.reserveItems(userId, [{ event: "image.render" }, { event: "llm.tokens", quantity: 900 }]);
  assert.deepEqual([denied.allowed, denied.deniedBy.map((one) => one.groupId)], [false, ["tokens"]]);
  assert.deepEqual(await counter(userId, "images"), { used: 1, held: 0 });
  await assert.rejects(client.reserveItems(userId, [{ event: "image.render", quantity: NaN }]), refused("invalid_request", 400));
});

test("canUse and can hold nothing", async () => {
  const { client, user, counter } = await world([group("images", 2, "image.*")]);
  const userId = await user("u_1");
  const answer = await client.canUse(userId, "image.render", 2);
  assert.deepEqual([answer.allowed, answer.details[0]?.quota], [true, 2]);
  assert.equal(await client.can(userId, "image.render", 3), false);
  assert.equal(await client.can(userId, "image.render"), true);
  assert.deepEqual(await counter(userId), { used: 0, held: 0 });
});

test("the same idempotency key counts once", async () => {
  const { client, user, counter } = await world([group("calls", 20, "api.call")]);
  const userId = await user("u_1");
  const options = { idempotencyKey: "order-7" };
  const first = await client.track(userId, "api.call", 1, {}, options);
  const again = await client.track(userId, "api.call", 1, {}, options);
  assert.equal(again.eventId, first.eventId);
  await assert.rejects(client.track(userId, "api.call", 2, {}, options), refused("idempotency_key_reused", 409));
  assert.deepEqual(await counter(userId), { used: 1, held: 0 });
});

test("an invalid request has an error for each field", async () => {
  const { client, user, counter } = await world([group("calls", 20, "api.call")]);
  const userId = await user("u_1");
  await assert.rejects(client.reserve(userId, "", 1), (error) => {
    assert(error instanceof QuotagateError);
    assert.equal(error.code, "invalid_request");
    assert(error.errors.some((fault) => fault.field.includes("event")), JSON.stringify(error.errors));
    assert.match(error.requestId ?? "", /\S/);
    return true;
  });
  const { reservationId } = await client.reserve(userId, "api.call", 5);
  // JSON turns NaN into null, and a commit of null would charge the whole hold.
  await assert.rejects(client.commit(reservationId, { quantity: NaN }), refused("invalid_request", 400));
  assert.deepEqual(await counter(userId), { used: 0, held: 5 });
});

test("fit holds as much as fits, and says how much", async () => {
  const measure = { per: { prompt_tokens: "1", completion_tokens: "1" }, estimate: { completion_tokens: 4_000 } };
  const { client, user, counter } = await world([group("tokens", 3_000, "llm.*", { unit: "tokens", measure })]);
  const userId = await user("u_1");
  const fit = { field: "completion_tokens", min: 256 } as const;
  const asked = await client.canUse(userId, "llm.chat", 1, { prompt_tokens: 200 }, { fit });
  assert.equal(asked.fitted?.completion_tokens, 2_800);
  const reserved = await client.reserve(userId, "llm.chat", 1, { prompt_tokens: 200 }, { fit });
  const fitted: { completion_tokens: number } | undefined = reserved.fitted;
  assert.deepEqual(fitted, { completion_tokens: 2_800 });
  await client.commit(reserved.reservationId, { metadata: { completion_tokens: 1_000 } });
  const items: Item[] = [{ event: "llm.plan", metadata: { prompt_tokens: 0, completion_tokens: 700 } }, { event: "llm.chat", metadata: { prompt_tokens: 0 }, fit }];
  const several = await client.reserveItems(userId, items);
  assert.deepEqual(several.fitted, { completion_tokens: 1_100 });
  await client.commit(several.reservationId);
  assert.deepEqual(await counter(userId), { used: 3_000, held: 0 });
  const denied = await client.reserve(userId, "llm.chat", 1, { prompt_tokens: 0 }, { fit });
  assert.deepEqual([denied.allowed, denied.fitted, denied.deniedBy[0]?.requested], [false, undefined, 256]);
});
