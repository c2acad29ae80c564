/** Policies, approvals, alerts and webhooks. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { QuotagateError } from "../src/index.js";
import { group, world } from "./support/gateway.js";
import { eventually } from "./support/wait.js";

const refused = (code: string, status: number) => (error: unknown) => error instanceof QuotagateError && error.code === code && error.status === status;

const plan = () => [group("images", null, "image.*")];

test("policies: put, preview, review, versions, rollback, delete", async () => {
  const { admin, client, user } = await world(plan());
  const { policies, counters } = admin.admin;
  const userId = await user("u_1");
  const body = { owner: "ana", reviewCadence: "monthly", groups: [group("team_images", 3, "image.*", { scope: ["metadata.team"] })] };
  const preview = await policies.preview("teams", body);
  assert.deepEqual(preview.changes.map((change) => [change.target, change.action]), [["policy:teams", "create"]]);
  const first = await policies.put("teams", body);
  assert.deepEqual([first.owner, first.groups[0]?.scope], ["ana", ["metadata.team"]]);

  assert.equal((await client.reserve(userId, "image.render", 3, { team: "red" })).allowed, true);
  assert.deepEqual((await client.reserve(userId, "image.render", 1, { team: "red" })).reasons, ["limit_reached"]);
  assert.deepEqual((await client.reserve(userId, "image.render")).reasons, ["missing_scope"]);
  const seen: unknown[] = [];
  for await (const { scope, held } of counters.all("team_images", { limit: 1 })) seen.push([scope, held]);
  assert.deepEqual(seen, [[{ "metadata.team": "red" }, 3]]);
  assert.equal((await counters.list("team_images")).data.length, 1);

  assert.equal((await policies.review("teams", { note: "as planned" })).reviewed?.note, "as planned");
  const second = await policies.put("teams", { ...body, owner: "bo" }, { ifMatch: first.version });
  await assert.rejects(policies.put("teams", body, { ifMatch: first.version }), refused("version_conflict", 412));
  assert.deepEqual((await policies.versions("teams")).data.map((one) => one.policy.owner), ["bo", "ana"]);
  assert.equal((await policies.rollback("teams", first.version)).owner, "ana");
  assert((await policies.get("teams")).version > second.version);
  assert.equal((await policies.list()).data.length, 1);
  await policies.delete("teams");
  await assert.rejects(policies.get("teams"), refused("not_found", 404));
});

test("approvals: opened by a denial, rejected, reopened, approved, and seen by the next call", async () => {
  const { admin, client, user } = await world(plan());
  const { approvals, policies } = admin.admin;
  const userId = await user("u_1");
  await policies.put("spend", { groups: [group("app_images", 2, "image.*", { scope: ["app"], enforcement: "approval" })] });
  const denied = await client.reserve(userId, "image.render", 3);
  assert.deepEqual([denied.reasons, denied.deniedBy[0]?.approval?.status], [["approval_required"], "open"]);
  const { data } = await approvals.list();
  assert.deepEqual(data.map((one) => [one.groupId, one.requested, one.requestedBy]), [["app_images", 3, userId]]);
  const { id } = data[0]!;
  assert.equal(id, denied.deniedBy[0]?.approval?.id);
  assert.equal((await approvals.reject(id, { note: "no" })).status, "rejected");
  assert.equal((await approvals.reopen(id)).status, "open");
  const grant = await approvals.approve(id, { amount: 5, note: "launch", rollbackOwner: "ana" });
  assert.deepEqual([grant.amount, grant.groupId], [5, "app_images"]);
  assert.equal((await approvals.get(id)).decided?.rollbackOwner, "ana");
  assert.equal((await client.reserve(userId, "image.render", 3)).allowed, true);
  const decided: string[] = [];
  for await (const one of approvals.all({ status: "decided" })) decided.push(one.status);
  assert.deepEqual(decided, ["approved"]);
});

/** Receives webhooks; resolves with the first of a type. */
async function receiver() {
  const got: { headers: IncomingHttpHeaders; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part: Buffer) => (body += part.toString()));
    request.on("end", () => {
      got.push({ headers: request.headers, body });
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  const first = (count: number) => eventually(`${count} webhooks, and not ${got.length}`, () => (got.length < count ? undefined : got));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, first };
}

test("webhooks: signed, delivered, listed, resent; alerts keep their history", async () => {
  const { admin, client, user } = await world([group("images", 4, "image.*", { alerts: [50] })]);
  const { webhooks, alerts } = admin.admin;
  const userId = await user("u_1");
  const { url, first } = await receiver();
  const made = await webhooks.put("chat", { url, events: ["threshold.reached"], modes: ["test"] });
  assert.match(made.secret ?? "", /^whsec_/);
  const { secret, version } = await webhooks.rotateSecret("chat");
  assert.notEqual(secret, made.secret);
  const tracked = await client.track(userId, "image.render", 2);
  assert.deepEqual(tracked.thresholds, [{ groupId: "images", percent: 50 }]);

  const [message] = await first(1);
  const { headers, body } = message!;
  const signed = `${String(headers["webhook-id"])}.${String(headers["webhook-timestamp"])}.${body}`;
  const signature = createHmac("sha256", Buffer.from(secret!.slice(6), "base64")).update(signed).digest("base64");
  assert(String(headers["webhook-signature"]).split(" ").includes(`v1,${signature}`));
  assert.equal((JSON.parse(body) as { type: string }).type, "threshold.reached");

  const { data } = await webhooks.deliveries("chat");
  assert.deepEqual(data.map((one) => [one.id, one.event]), [[headers["webhook-id"], "threshold.reached"]]);
  assert.equal((await webhooks.resend("chat", data[0]!.id)).id, data[0]!.id);
  assert.equal((await first(2))[1]!.headers["webhook-id"], headers["webhook-id"]);
  const all: string[] = [];
  for await (const one of webhooks.allDeliveries("chat", { limit: 1 })) all.push(one.id);
  assert.deepEqual(all, [data[0]!.id]);

  assert((await alerts.list()).data.some((one) => one.type === "threshold.reached"));
  const types: string[] = [];
  for await (const one of alerts.all({ limit: 1 })) types.push(one.type);
  assert(types.includes("threshold.reached"), types.join());

  assert.equal((await webhooks.get("chat")).secret ?? null, null);
  assert.equal((await webhooks.list()).data.length, 1);
  await assert.rejects(webhooks.put("chat", { url: "nowhere", events: ["limit.reached"] }), refused("invalid_request", 400));
  await webhooks.delete("chat", { ifMatch: (await webhooks.get("chat")).version });
  assert(version >= made.version);
  await assert.rejects(webhooks.get("chat"), refused("not_found", 404));
});
