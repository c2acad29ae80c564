import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, type GroupBody, QuotagateError } from "../src/index.js";
import { group, ROOT_KEY, world } from "./support/gateway.js";

const refused = (code: string, status: number) => (error: unknown) => error instanceof QuotagateError && error.code === code && error.status === status;
const missing = refused("not_found", 404);

test("plans have versions and previews, and are not deleted while they have users", async () => {
  const { admin: client, user } = await world([group("images", 20, "image.*")]);
  const { plans } = client.admin;
  await user("u_1");
  const first = await plans.get("plan");
  const preview = await plans.preview("plan", { groups: [group("images", 5, "image.*")] });
  assert.deepEqual(preview.changes.map((change) => [change.target, change.action]), [["plan:plan", "update"]]);
  assert.equal((await plans.get("plan")).version, first.version);

  const second = await plans.put("plan", { groups: [group("images", 40, "image.*")] }, { ifMatch: first.version });
  assert(second.version > first.version);
  await assert.rejects(plans.put("plan", { groups: [] }, { ifMatch: first.version }), refused("version_conflict", 412));
  await assert.rejects(plans.put("plan", { groups: [group("images", -1, "image.*")] }), refused("invalid_request", 400));
  assert.deepEqual((await plans.versions("plan")).data.map((one) => one.version), [second.version, first.version]);
  assert.equal((await plans.rollback("plan", first.version)).groups[0]?.quota, 20);

  await plans.put("other", { groups: [group("other_images", 1, "image.*")] });
  await assert.rejects(plans.delete("plan"), refused("plan_in_use", 409));
  await plans.delete("plan", { moveTo: "other" });
  await assert.rejects(plans.get("plan"), missing);
  assert.deepEqual((await plans.list()).data.map((plan) => plan.id), ["other"]);
});

test("keys are shown once, listed by prefix, and revoked", async () => {
  const { admin: client, connect } = await world([group("images", 20, "image.*")]);
  const { keys } = client.admin;
  const made = await keys.create({ kind: "secret", mode: "test", sandbox: "other", name: "ci", metadata: { team: "search" } });
  assert.match(made.key ?? "", /^sk_test_/);
  const listed = (await keys.list()).data.find((key) => key.id === made.id);
  assert.deepEqual([listed?.name, listed?.key ?? null, listed?.sandbox], ["ci", null, "other"]);
  const other = connect({ apiKey: made.key! });
  assert.equal((await other.usage("u_1")).planId, null);
  await keys.revoke(made.id);
  await assert.rejects(keys.revoke(made.id), missing);
});

test("the root key creates and deletes apps, and works in one of them", async () => {
  const { url, app } = await world([group("images", 20, "image.*")]);
  const root = createClient({ apiKey: ROOT_KEY, baseUrl: url });
  const made = await root.admin.apps.create({ id: `${app}_extra`, placement: "user" });
  assert.deepEqual([made.id, made.placement], [`${app}_extra`, "user"]);
  assert((await root.admin.apps.list()).data.some((one) => one.id === made.id));
  const inside = createClient({ apiKey: ROOT_KEY, baseUrl: url, app: made.id });
  assert.deepEqual((await inside.admin.plans.list()).data, []);
  await root.admin.apps.delete(made.id);
  await assert.rejects(root.admin.apps.delete(made.id), missing);
});

test("app settings and the whole configuration", async () => {
  const { admin: client } = await world([group("images", 20, "image.*")]);
  assert.equal((await client.admin.app.put({ defaultPlanId: "plan" })).defaultPlanId, "plan");
  assert.equal((await client.admin.app.get()).defaultPlanId, "plan");
  const configuration = await client.admin.configuration.get();
  assert.equal(configuration.plans?.[0]?.id, "plan");
  const changed = { app: { defaultPlanId: "plan" }, plans: [{ id: "plan", groups: [group("images", 21, "image.*")] }] };
  const preview = await client.admin.configuration.preview(changed);
  assert.deepEqual([preview.applied, preview.changes.length], [false, 1]);
  assert.equal((await client.admin.configuration.apply(changed)).applied, true);
  assert.equal((await client.admin.plans.get("plan")).groups[0]?.quota, 21);
});

test("a configuration can keep what it does not list, and is only applied to the revision that was read", async () => {
  const { admin: client } = await world([group("images", 20, "image.*")]);
  const { configuration } = client.admin;
  const other = { id: "other", groups: [group("other_images", 1, "image.*")] };
  const kept = await configuration.apply({ plans: [other] }, { prune: false });
  assert.deepEqual([kept.applied, kept.unlisted], [true, ["plan:plan"]]);
  const { configuration: read, revision } = await configuration.getWithRevision();
  assert.deepEqual(read.plans?.map((plan) => plan.id), ["other", "plan"]);

  const smaller = { plans: [other] };
  const preview = await configuration.preview(smaller, { ifMatch: revision });
  assert.deepEqual(preview.changes.map((change) => [change.target, change.action]), [["plan:plan", "delete"]]);
  assert.equal(preview.revision, revision);
  await client.admin.plans.put("third", { groups: [group("third_images", 1, "image.*")] });
  for (const ifMatch of [revision, preview.revision]) {
    await assert.rejects(configuration.apply(smaller, { ifMatch }), refused("version_conflict", 412));
    await assert.rejects(configuration.preview(smaller, { ifMatch }), refused("version_conflict", 412));
  }
  assert.deepEqual((await client.admin.plans.list()).data.map((plan) => plan.id), ["other", "plan", "third"]);
  const now = await configuration.preview(smaller);
  assert.equal((await configuration.apply(smaller, { ifMatch: now.revision })).applied, true);
  assert.deepEqual((await client.admin.plans.list()).data.map((plan) => plan.id), ["other"]);
});

test("users: list, get, block, reset, and grants", async () => {
  const { admin: client, client: backEnd, user, counter } = await world([group("images", 5, "image.*")]);
  for (let number = 0; number < 7; number += 1) await user(`acme:${number}`);
  await user("other:1");
  const { users, grants } = client.admin;
  const page = await users.list({ search: "acme:", limit: 3 });
  assert.equal(page.data.length, 3);
  assert.equal(typeof page.nextCursor, "string");
  const all: string[] = [];
  for await (const one of users.all({ search: "acme:", limit: 3 })) all.push(one.userId);
  assert.deepEqual(all.sort(), [0, 1, 2, 3, 4, 5, 6].map((number) => `acme:${number}`));

  const userId = "acme:1";
  await backEnd.reserve(userId, "image.render", 2);
  const detail = await users.get(userId);
  assert.deepEqual([detail.planId, detail.openReservations[0]?.held[0]?.amount], ["plan", 2]);
  await users.put(userId, { name: "Ada Lovelace", tags: ["vip"] });
  const named = await users.get(userId);
  assert.deepEqual([named.name, named.tags], ["Ada Lovelace", ["vip"]]);
  for (const contains of ["LOVELACE", "vip"]) {
    const found: string[] = [];
    for await (const one of users.all({ contains })) found.push(one.userId);
    assert.deepEqual(found, [userId], contains);
  }
  assert.equal((await users.block(userId, { note: "charge-back" })).blocked, true);
  assert.deepEqual((await backEnd.reserve(userId, "image.render")).reasons, ["user_blocked"]);
  assert.equal((await users.unblock(userId)).blocked, false);

  const grant = await grants.create({ groupId: "images", scope: { user: userId }, amount: "10", note: "sorry" });
  assert.equal(await backEnd.can(userId, "image.render", 13), true);
  assert.deepEqual((await grants.list({ userId })).data.map((one) => one.id), [grant.id]);
  await grants.delete(grant.id);
  assert.equal(await backEnd.can(userId, "image.render", 13), false);

  await backEnd.track(userId, "image.render", 2);
  assert.equal((await counter(userId)).used, 2);
  await users.reset(userId, { groupId: "images" });
  assert.equal((await counter(userId)).used, 0);
});

test("limits: another quota for one owner", async () => {
  const { admin: client, client: backEnd, user } = await world([group("images", 5, "image.*", { scope: ["metadata.team"] })]);
  await user("u_1");
  const scope = { "metadata.team": "red" };
  const limit = await backEnd.limits.put("images", { scope, quota: 2, note: "trial" });
  assert.deepEqual([limit.scope, limit.quota, limit.until, limit.note], [scope, 2, null, "trial"]);
  assert.equal(await backEnd.can("u_1", "image.render", 3, { team: "red" }), false);
  assert.equal(await backEnd.can("u_1", "image.render", 3, { team: "blue" }), true);
  const listed = [];
  for await (const one of client.limits.all("images", { limit: 1 })) listed.push(one.quota);
  assert.deepEqual([listed, (await client.limits.list("images")).data.length], [[2], 1]);
  await backEnd.limits.delete("images", scope);
  assert.equal(await backEnd.can("u_1", "image.render", 3, { team: "red" }), true);
});

test("credits: prepaid amounts that a quota overflows onto", async () => {
  const images = group("images", 2, "image.*", { overflow: "credits" });
  const balance: GroupBody = { id: "credits", kind: "balance", unit: "count", matches: [] };
  const { admin: client, client: backEnd, user } = await world([images, balance]);
  await user("u_1");
  const paid = { groupId: "credits", scope: { user: "u_1" }, amount: 5, sourceId: "pay_1", note: "pack of 5" };
  const credit = await backEnd.credits.create(paid);
  assert.deepEqual([credit.amount, credit.remaining, credit.status, credit.sourceId], [5, 5, "live", "pay_1"]);
  assert.equal((await backEnd.credits.create(paid)).id, credit.id, "a payment adds once");
  const { reservationId, overflow } = await backEnd.reserve("u_1", "image.render", 4);
  assert.deepEqual(overflow, [{ groupId: "credits", from: "images", amount: 2 }]);
  assert(reservationId);
  assert.deepEqual((await backEnd.commit(reservationId)).overflow, overflow);

  assert.equal((await backEnd.credits.void(credit.id, { amount: 1 })).remaining, 2);
  const second = await client.credits.create({ groupId: "credits", scope: { user: "u_1" }, amount: "4" });
  const listed = [];
  for await (const { id, used } of client.credits.all("credits", { userId: "u_1", limit: 1 })) listed.push([id, used]);
  assert.deepEqual(listed, [[second.id, 0], [credit.id, 2]]);
  assert.equal((await backEnd.credits.list("credits", { userId: "u_1" })).data.length, 2);
  const voided = await client.credits.void(second.id, { note: "chargeback" });
  assert.deepEqual([voided.voided, voided.status], [4, "voided"]);
  assert.equal(await backEnd.can("u_1", "image.render", 2), true);
  assert.equal(await backEnd.can("u_1", "image.render", 3), false);
});

test("the audit log records who changed what", async () => {
  const { admin: client, user } = await world([group("images", 5, "image.*")]);
  await user("u_1");
  await client.admin.users.block("u_1", { note: "charge-back" });
  const targets: string[] = [];
  for await (const entry of client.admin.audit.all({ limit: 2 })) targets.push(entry.target);
  assert(targets.some((target) => target.includes("u_1")), targets.join());
  assert(targets.some((target) => target === "plan:plan"), targets.join());
  const { data } = await client.admin.audit.list({ target: "plan:plan" });
  assert(data.length > 0 && data.every((entry) => entry.target === "plan:plan"));
});

test("the test clock freezes a sandbox, moves forward only, and empties the sandbox", async () => {
  const { admin: client, client: backEnd, user } = await world([group("images", 5, "image.*")]);
  const clock = client.admin.testClock;
  assert.equal((await clock.get()).now ?? null, null);
  assert.equal(Date.parse((await clock.set("2026-12-31T23:59:59Z")).now!), Date.UTC(2026, 11, 31, 23, 59, 59));
  const userId = await user("u_1");
  await backEnd.track(userId, "image.render", 5);
  assert.equal(await backEnd.can(userId, "image.render"), false);
  // A secret test key may do this, too.
  await backEnd.admin.testClock.set(new Date(Date.UTC(2027, 0, 1)));
  assert.equal(await backEnd.can(userId, "image.render"), true);
  await assert.rejects(clock.set("2026-12-31T00:00:00Z"), refused("invalid_request", 400));
  await clock.reset();
  assert.equal((await backEnd.usage(userId)).planId, null);
});
