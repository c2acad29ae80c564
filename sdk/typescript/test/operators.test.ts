/** Events, reports, explanations and drafts; and a method for every call of the API. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createClient, QuotagateError } from "../src/index.js";
import { FOLDER, group, ROOT_KEY, world } from "./support/gateway.js";
import { eventually } from "./support/wait.js";

const refused = (code: string, status: number) => (error: unknown) => error instanceof QuotagateError && error.code === code && error.status === status;

test("events, reports, windows and limits show recorded calls", async () => {
  const { admin, client, user } = await world([group("images", 4, "image.*")]);
  const { events, reports, history } = admin.admin;
  const userId = await user("u/1 ü");
  const r = await client.reserve(userId, "image.render", 3, { team: "red" });
  await client.commit(r.reservationId);
  assert.equal((await client.outcome(r.reservationId!, "accepted")).outcome, "accepted");
  await assert.rejects(client.outcome("rsv_0", "accepted"), QuotagateError);
  assert.equal((await client.reserve(userId, "image.render", 2, { team: "blue" })).allowed, false);

  const { data } = await events.list({ userId, types: ["commit", "denial"], metadata: { team: "red" } });
  assert.deepEqual(data.map((event) => [event.type, event.userId]), [["commit", userId]]);
  const seen: string[] = [];
  for await (const event of events.all({ userId, order: "asc", limit: 1 })) seen.push(event.type);
  assert.deepEqual(seen, ["commit", "outcome", "denial"]);

  const [line] = (await reports.usage({ by: ["user", "event"], metadata: { team: "red" } })).data;
  assert.deepEqual([line?.by.user, line?.calls, line?.accepted], [userId, 1, 1]);
  const sorted = (await reports.usage({ by: ["user"], ratio: ["accepted/calls", "denials/calls"], top: "calls" })).data;
  assert.deepEqual(sorted.map((one) => one.ratios), [{ "accepted/calls": 1, "denials/calls": 1 }]);
  const { near } = await reports.limits({ limit: 5 });
  assert.deepEqual(near.map((counter) => [counter.scope.user, counter.used]), [[userId, 3]]);
  assert.deepEqual((await reports.unusual({ by: ["group"], days: 7 })).data, []);
  assert.deepEqual((await reports.forecast(userId)).data.map((counter) => [counter.groupId, counter.used]), [["images", 3]]);
  assert.deepEqual((await history.list(userId, { groupId: "images" })).data.map((window) => [window.used, window.final]), [[3, false]]);
  // A node is silent if it has not reported for 15 seconds, which a slow machine may cause.
  await eventually("a node that is not silent", async () => (await admin.admin.nodes.list()).data.find((node) => !node.silent));
  assert.deepEqual((await admin.admin.sandboxes.list()).data.map((sandbox) => sandbox.mode), ["test/main"]);
});

test("learned estimates are listed with what they were learned from", async () => {
  const estimate = { quantile: 0.95, by: ["model"], start: 4000, max: 16000 };
  const measure = { per: { completion_tokens: 1 }, estimate: { completion_tokens: estimate } };
  const { client, user } = await world([group("tokens", null, "llm.*", { unit: "tokens", measure })]);
  const userId = await user("u_1");
  const r = await client.reserve(userId, "llm.chat", 1, { model: "large" });
  await client.commit(r.reservationId, { metadata: { completion_tokens: 5000 } });
  await client.track(userId, "llm.chat", 1, { model: "small", completion_tokens: 10 });
  const { data } = await client.estimates.list({ event: "llm.chat" });
  assert.deepEqual(data.map((one) => [one.by, one.value, one.learned, one.samples, one.compared, one.exceeded]), [
    [{ model: "large" }, 4000, false, 1, 1, 1],
    [{ model: "small" }, 4000, false, 1, 0, 0],
  ]);
  const fields: string[] = [];
  for await (const one of client.estimates.all({ limit: 1 })) fields.push(one.field);
  assert.deepEqual(fields, ["completion_tokens", "completion_tokens"]);
});

test("follow yields new events, and misses none over a cut connection", async () => {
  const { admin, app, client, connect, user } = await world([group("images", 4, "image.*")]);
  const userId = await user("u_1");
  await client.track(userId, "image.render");
  let connections = 0;
  const following = connect({
    apiKey: ROOT_KEY,
    app,
    mode: "test/main",
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if ((connections += 1) > 1) return response;
      // The first connection ends after its position, before any event.
      const reader = response.body!.getReader();
      const { value } = await reader.read();
      await client.track(userId, "image.render", 2);
      await reader.cancel();
      return new Response(value, { headers: response.headers });
    },
  });
  const seen: [string, unknown][] = [];
  for await (const event of following.admin.events.follow({ userId, types: ["track", "denial"] })) {
    seen.push([event.type, event.quantity]);
    if (seen.length === 2) break;
    assert.equal((await client.reserve(userId, "image.render", 3)).allowed, false);
  }
  assert.deepEqual([seen, connections], [[["track", 2], ["denial", 3]], 2]);
  // From an event that is known.
  const { data } = await admin.admin.events.list({ userId, order: "asc" });
  const later: string[] = [];
  for await (const event of admin.admin.events.follow({ after: data[0]!.id })) {
    later.push(event.id);
    if (later.length === 2) break;
  }
  assert.deepEqual(later, data.slice(1).map((event) => event.id));
  const controller = new AbortController();
  const waiting = admin.admin.events.follow({ signal: controller.signal }).next();
  controller.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
});

test("explanations and drafts write nothing", async () => {
  const { admin, client, user } = await world([group("images", 4, "image.*")]);
  const { explain, whatif, plans } = admin.admin;
  const userId = await user("u_1");
  const r = await client.reserve(userId, "image.render", 3);
  await client.commit(r.reservationId);
  const { call } = await explain.call({ userId, event: "image.render", quantity: 2, metadata: { team: "red" } });
  assert.deepEqual([call?.allowed, call?.reasons, call?.metadata.team], [false, ["limit_reached"], "red"]);
  assert.equal((await explain.reservation(r.reservationId!)).reservation?.status, "committed");
  const draft = { id: "plan", groups: [group("images", 2, "image.*")] };
  assert.deepEqual((await explain.draft({ plan: draft, event: "video.a" })).groups.map((one) => one.matches), [false]);
  const tried = await whatif.replay({ plan: draft, entries: 1000 });
  assert.deepEqual([tried.newlyDenied.calls, tried.newlyDenied.users], [1, 1]);
  assert.equal((await plans.get("plan")).groups[0]?.quota, 4);
});

test("moves and deletions have previews, and an operator can release a reservation", async () => {
  const { admin, client, user } = await world([group("images", 4, "image.*")]);
  const { plans, policies, subscriptions, reservations } = admin.admin;
  const userId = await user("u_1");
  const r = await client.reserve(userId, "image.render", 3);
  await plans.put("next", { groups: [group("images", 9, "image.*", { onPlanChange: "reset" })] });
  const move = await subscriptions.preview({ userId, planId: "next" });
  assert.deepEqual(move.counters.map((counter) => [counter.effect, counter.quota, counter.used]), [["reset", 9, 0]]);
  assert.equal((await client.usage(userId)).planId, "plan");

  const gone = await plans.previewDelete("plan");
  assert.deepEqual([gone.users, gone.refusal?.includes("1 user is on plan `plan`")], [[{ mode: "test/main", users: 1, ownLimits: 0 }], true]);
  assert.equal((await plans.previewDelete("plan", { moveTo: "next" })).refusal, null);
  await assert.rejects(plans.previewDelete("plan", { ifMatch: 1 }), refused("version_conflict", 412));
  await policies.put("cap", { groups: [group("team", 3, "image.*", { scope: ["metadata.team"] })] });
  assert.deepEqual((await policies.previewDelete("cap")).groups.map((one) => one.groupId), ["team"]);
  assert.equal((await policies.list()).data.length, 1);

  assert.equal((await reservations.release(r.reservationId!, { reason: "worker is gone" })).status, "released");
  await assert.rejects(client.commit(r.reservationId), refused("reservation_not_pending", 409));
});

/** The method of each operation; null for the calls that the README excludes. */
const METHODS: Record<string, string | null> = {
  "alerts.list": "admin.alerts.list",
  "app.get": "admin.app.get",
  "app.put": "admin.app.put",
  "approvals.list": "admin.approvals.list",
  "approvals.get": "admin.approvals.get",
  "approvals.approve": "admin.approvals.approve",
  "approvals.reject": "admin.approvals.reject",
  "approvals.reopen": "admin.approvals.reopen",
  "apps.list": "admin.apps.list",
  "apps.create": "admin.apps.create",
  "apps.delete": "admin.apps.delete",
  "configuration.list": "admin.audit.list",
  "configuration.get": "admin.configuration.get",
  "configuration.put": "admin.configuration.apply",
  "counters.list": "admin.counters.list",
  "credits.list": "credits.list",
  "credits.create": "credits.create",
  "credits.void": "credits.void",
  "events.list": "admin.events.list",
  "events.stream": "admin.events.follow",
  "grants.list": "admin.grants.list",
  "grants.create": "admin.grants.create",
  "grants.delete": "admin.grants.delete",
  "health.healthz": null,
  "health.metrics": null,
  "health.readyz": null,
  "keys.list": "admin.keys.list",
  "keys.create": "admin.keys.create",
  "keys.delete": "admin.keys.revoke",
  "limits.list": "limits.list",
  "limits.put": "limits.put",
  "limits.delete": "limits.delete",
  "metering.batch": "batch",
  "metering.can_use": "canUse",
  "metering.commit": "commit",
  "metering.extend": "extend",
  "metering.outcome": "outcome",
  "metering.release": "release",
  "metering.reserve": "reserve",
  "metering.track": "track",
  "nodes.list": "admin.nodes.list",
  "plans.list": "admin.plans.list",
  "plans.get": "admin.plans.get",
  "plans.put": "admin.plans.put",
  "plans.delete": "admin.plans.delete",
  "plans.rollback": "admin.plans.rollback",
  "plans.versions": "admin.plans.versions",
  "policies.list": "admin.policies.list",
  "policies.get": "admin.policies.get",
  "policies.put": "admin.policies.put",
  "policies.delete": "admin.policies.delete",
  "policies.review": "admin.policies.review",
  "policies.rollback": "admin.policies.rollback",
  "policies.versions": "admin.policies.versions",
  "reports.estimates": "estimates.list",
  "reports.forecast": "admin.reports.forecast",
  "reports.limits": "admin.reports.limits",
  "reports.unusual": "admin.reports.unusual",
  "reports.usage": "admin.reports.usage",
  "session.create": null,
  "session.delete": null,
  "session.get": null,
  "subscriptions.cancel": "cancelSubscription",
  "subscriptions.subscribe": "upsertSubscription",
  "test-clock.delete": "admin.testClock.reset",
  "test-clock.get": "admin.testClock.get",
  "test-clock.put": "admin.testClock.set",
  "test-clock.sandboxes": "admin.sandboxes.list",
  "usage.explain": "admin.explain.call",
  "usage.explain_draft": "admin.explain.draft",
  "usage.get_usage": "usage",
  "usage.history": "admin.history.list",
  "usage.stream_usage": "watchUsage",
  "users.block": "admin.users.block",
  "users.get": "admin.users.get",
  "users.list": "admin.users.list",
  "users.put": "admin.users.put",
  "users.release_reservation": "admin.reservations.release",
  "users.reset": "admin.users.reset",
  "users.unblock": "admin.users.unblock",
  "webhooks.delete": "admin.webhooks.delete",
  "webhooks.deliveries": "admin.webhooks.deliveries",
  "webhooks.get": "admin.webhooks.get",
  "webhooks.list": "admin.webhooks.list",
  "webhooks.put": "admin.webhooks.put",
  "webhooks.resend": "admin.webhooks.resend",
  "webhooks.rotate_secret": "admin.webhooks.rotateSecret",
  "what-if.whatif": "admin.whatif.replay",
};

test("every call of the API has a method, or is excluded by name", () => {
  interface Document { paths: Record<string, Record<string, { operationId?: string }>> }
  const { paths } = JSON.parse(readFileSync(join(FOLDER, "../../docs/openapi.json"), "utf8")) as Document;
  const known = Object.values(paths).flatMap((path) => Object.values(path).flatMap((call) => call.operationId ?? []));
  assert.deepEqual(Object.keys(METHODS).sort(), known.sort());
  const client: unknown = createClient({ apiKey: "sk_live_x" });
  for (const name of Object.values(METHODS).filter((name) => name !== null)) {
    const method = name.split(".").reduce((part, step) => (part as Record<string, unknown>)[step], client);
    assert.equal(typeof method, "function", name);
  }
});
