/** Every parameter of the API, in the query or in a header, has an option. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Client, createClient } from "../src/index.js";
import { FOLDER } from "./support/gateway.js";

interface Parameter { name?: string; in?: string }
interface Operation { operationId?: string; parameters?: Parameter[] }

const metadata = { "{name}": "x" };
const page = { cursor: "x", limit: 1 };
const ifMatch = 1;
const filter = { types: ["denial"], userId: "x", event: "x", keyId: "x", groupId: "x", reservationId: "x", outcome: "accepted", late: true, reason: "x", observed: true, metadata } as const;

/** Calls of each operation that has parameters, with all options. */
const CALLS: Record<string, (client: Client) => Promise<unknown>[]> = {
  "alerts.list": ({ admin }) => [admin.alerts.list(page)],
  "approvals.list": ({ admin }) => [admin.approvals.list({ ...page, status: "open" })],
  "configuration.list": ({ admin }) => [admin.audit.list({ ...page, actor: "x", action: "x", target: "x" })],
  "configuration.put": ({ admin }) => [admin.configuration.apply({}, { prune: false, ifMatch }), admin.configuration.preview({}, { prune: false, ifMatch })],
  "counters.list": ({ admin }) => [admin.counters.list("x", page)],
  "credits.list": ({ credits }) => [credits.list("x", { ...page, userId: "x", key: "x", metadata })],
  "events.list": ({ admin }) => [admin.events.list({ ...page, ...filter, types: [...filter.types], from: "x", to: "x", order: "asc" })],
  "events.stream": ({ admin }) => [admin.events.follow({ ...filter, types: [...filter.types], after: "x" }).next()],
  "grants.list": ({ admin }) => [admin.grants.list({ ...page, userId: "x" })],
  "limits.list": ({ limits }) => [limits.list("x", page)],
  "plans.put": ({ admin }) => [admin.plans.put("x", { groups: [] }, { ifMatch }), admin.plans.preview("x", { groups: [] }, { ifMatch })],
  "plans.delete": ({ admin }) => [admin.plans.delete("x", { moveTo: "y", ifMatch }), admin.plans.previewDelete("x", { moveTo: "y", ifMatch })],
  "plans.rollback": ({ admin }) => [admin.plans.rollback("x", 1, { ifMatch })],
  "policies.put": ({ admin }) => [admin.policies.put("x", { groups: [] }, { ifMatch }), admin.policies.preview("x", { groups: [] }, { ifMatch })],
  "policies.delete": ({ admin }) => [admin.policies.delete("x", { ifMatch }), admin.policies.previewDelete("x", { ifMatch })],
  "policies.rollback": ({ admin }) => [admin.policies.rollback("x", 1, { ifMatch })],
  "reports.estimates": ({ estimates }) => [estimates.list({ ...page, event: "x" })],
  "reports.forecast": ({ admin }) => [admin.reports.forecast("x")],
  "reports.limits": ({ admin }) => [admin.reports.limits({ limit: 1 })],
  "reports.unusual": ({ admin }) => [admin.reports.unusual({ at: "x", days: 1, by: ["user"] })],
  "reports.usage": ({ admin }) => [admin.reports.usage({ ...page, from: "x", to: "x", period: "day", by: ["user"], event: "x", userId: "x", keyId: "x", groupId: "x", metadata, ratio: ["a/b", "b/a"], top: "calls" })],
  "subscriptions.subscribe": ({ admin }) => [admin.subscriptions.preview({ userId: "x", planId: "y" })],
  "usage.explain": ({ admin }) => [admin.explain.call({ userId: "x", event: "x", quantity: 1, metadata, key: "x" }), admin.explain.reservation("x")],
  "usage.get_usage": (client) => [client.usage("x", "x", { key: "x", metadata })],
  "usage.history": ({ admin }) => [admin.history.list("x", { groupId: "x", from: "x", to: "x", key: "x", metadata })],
  "usage.stream_usage": (client) => [client.watchUsage("x", { event: "x" }).next()],
  "users.list": ({ admin }) => [admin.users.list({ ...page, search: "x", contains: "x" })],
  "webhooks.put": ({ admin }) => [admin.webhooks.put("x", { url: "x", events: [] }, { ifMatch })],
  "webhooks.delete": ({ admin }) => [admin.webhooks.delete("x", { ifMatch })],
  "webhooks.deliveries": ({ admin }) => [admin.webhooks.deliveries("x", { ...page, status: "dead" })],
};

/** What the SDK leaves out: denials are results, and CSV is text. */
const EXCLUDED = new Set(["metering.reserve onDeny", "reports.usage format"]);
/** Headers with an option of the call, by their names in lower case. */
const HEADERS: Record<string, string> = { "If-Match": "if-match", "Last-Event-ID": "last-event-id" };

function parametersOf({ operationId, parameters = [] }: Operation): string[] {
  const own = parameters.filter(({ in: place, name = "" }) => place === "query" || (place === "header" && name in HEADERS));
  return own.map(({ name = "" }) => name).filter((name) => !EXCLUDED.has(`${operationId} ${name}`)).sort();
}

test("every parameter of the API has an option", async () => {
  const document = JSON.parse(readFileSync(join(FOLDER, "../../docs/openapi.json"), "utf8")) as { paths: Record<string, Record<string, Operation>> };
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
  const known = new Map(operations.map((operation) => [operation.operationId ?? "", parametersOf(operation)] as const));
  const expected = [...known].filter(([, names]) => names.length > 0).map(([id]) => id);
  assert.deepEqual(Object.keys(CALLS).sort(), expected.sort());

  for (const id of expected) {
    const sent = new Set<string>();
    const client = createClient({
      apiKey: "ak_x",
      retries: 0,
      fetch: (input, init) => {
        for (const name of new URL(input).searchParams.keys()) sent.add(name);
        const headers = new Headers(init.headers);
        for (const [name, lower] of Object.entries(HEADERS)) if (headers.has(lower)) sent.add(name);
        return Promise.resolve(new Response("{}", { status: 400 }));
      },
    });
    await Promise.allSettled(CALLS[id]!(client));
    assert.deepEqual([...sent].sort(), known.get(id), id);
  }
});
