import assert from "node:assert/strict";
import { type IncomingMessage, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import express, { type Request as ExpressRequest } from "express";
import type { GroupBody } from "../src/index.js";
import { quota, reservationOf } from "../src/middleware/express.js";
import { withQuota } from "../src/middleware/fetch.js";
import { group, world } from "./support/gateway.js";
import { startProxy } from "./support/proxy.js";
import { within } from "./support/wait.js";

const onLimit = { message: "All used", upgradeUrl: "https://example.com/upgrade" };
const groups = (): GroupBody[] => [group("tokens", 100, "llm.tokens", { unit: "tokens", onLimit })];
const userOf = (request: Request): string => request.headers.get("x-user") ?? "nobody";
const requestOf = (init?: RequestInit) => new Request("http://app.test/", { headers: { "x-user": "u_1" }, ...init });

test("a fetch handler is charged for what it reports, at the end of its body", async () => {
  const base = await world(groups());
  await base.user("u_1");
  const handler = withQuota(base.client, { userId: userOf, event: "llm.tokens", quantity: 40 }, async (_request, r, name: string) => {
    assert.deepEqual(await base.counter("u_1"), { used: 0, held: 40 });
    r.use(7);
    return new Response(`hello ${name}`, { headers: { "x-own": "1" } });
  });
  const response = await handler(requestOf(), "ana");
  assert.deepEqual([response.status, response.headers.get("x-own")], [200, "1"]);
  assert.match(response.headers.get("ratelimit") ?? "", /^"tokens";r=60;t=\d+$/);
  assert.equal(response.headers.get("x-ratelimit-remaining"), "60");
  assert.equal(await response.text(), "hello ana");
  assert.deepEqual(await base.counter("u_1"), { used: 7, held: 0 });
});

test("a fetch handler that fails, or answers 400 and above, is not charged", async () => {
  const base = await world(groups());
  await base.user("u_1");
  const rules = { userId: userOf, event: "llm.tokens", quantity: (request: Request) => Number(request.headers.get("x-tokens") ?? 5) };
  await (await withQuota(base.client, rules, () => new Response("no", { status: 422 }))(requestOf())).text();
  await assert.rejects(withQuota(base.client, rules, () => Promise.reject(new Error("fell over")))(requestOf()), /fell over/);
  assert.deepEqual(await base.counter("u_1"), { used: 0, held: 0 });
  await withQuota(base.client, { ...rules, charge: () => true }, () => new Response(null, { status: 304 }))(requestOf());
  assert.deepEqual(await base.counter("u_1"), { used: 5, held: 0 });
});

test("a denial is a 429 problem with headers, an unreachable gateway a 503", async () => {
  const base = await world(groups());
  await base.user("u_1");
  const never = () => assert.fail("must not run");
  const rules = { userId: userOf, event: "llm.tokens", quantity: 60 };
  await base.client.track("u_1", "llm.tokens", 50);
  const denied = await withQuota(base.client, rules, never)(requestOf());
  assert.deepEqual([denied.status, denied.headers.get("content-type")], [429, "application/problem+json"]);
  assert.match(denied.headers.get("retry-after") ?? "", /^[1-9]\d*$/);
  assert.equal(denied.headers.get("x-ratelimit-limit"), "100");
  const problem = (await denied.json()) as Record<string, unknown>;
  assert.deepEqual([problem.code, problem.detail, problem.onLimit], ["limit_reached", "All used", onLimit]);

  const proxy = await startProxy(base.url);
  proxy.always(() => "cut-before");
  const unreachable = base.connect({ baseUrl: proxy.url, retries: 0 });
  assert.equal((await withQuota(unreachable, rules, never)(requestOf())).status, 503);
  const allowing = base.connect({ baseUrl: proxy.url, retries: 0, onUnavailable: "allow" });
  const served = await withQuota(allowing, rules, (_request, r) => Response.json({ degraded: r.degraded }))(requestOf());
  assert.deepEqual(await served.json(), { degraded: true });
  await allowing.close(0);
});

test("if the reader leaves a streamed answer early, the reported usage is charged", async () => {
  const base = await world(groups());
  await base.user("u_1");
  const handler = withQuota(base.client, { userId: userOf, event: "llm.tokens", quantity: 40 }, (_request, r) => {
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        r.use(1);
        controller.enqueue(new TextEncoder().encode("x"));
      },
    }, { highWaterMark: 0 });
    return new Response(body);
  });
  const reader = (await handler(requestOf())).body!.getReader();
  await reader.read();
  await reader.cancel();
  const used = await base.settled("u_1");
  assert(used >= 1 && used < 40, `${used}`);
});

async function serve(gate: (app: express.Express) => void): Promise<string> {
  const app = express();
  gate(app);
  app.use((error: Error, _request: ExpressRequest, response: express.Response, _next: express.NextFunction) => {
    response.status(500).json({ error: error.message });
  });
  const server = app.listen(0, "127.0.0.1");
  await new Promise((ready) => server.once("listening", ready));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const expressUser = (request: ExpressRequest): string => request.header("x-user") ?? "nobody";

test("an Express handler is charged when its answer is sent", async () => {
  const base = await world(groups());
  await base.user("u_1");
  const rules = { userId: expressUser, event: "llm.tokens", quantity: 40 };
  const url = await serve((app) => {
    app.post("/good", quota(base.client, rules), (_request, response) => {
      reservationOf(response).use(9);
      response.json({ ok: true });
    });
    app.post("/bad", quota(base.client, rules), (_request, response) => void response.status(400).json({ ok: false }));
    app.post("/thrown", quota(base.client, rules), () => {
      throw new Error("fell over");
    });
    app.post("/unmetered", (_request, response) => {
      reservationOf(response);
    });
  });
  const post = (path: string) => fetch(url + path, { method: "POST", headers: { "x-user": "u_1" } });
  const good = await post("/good");
  assert.deepEqual([good.status, good.headers.get("x-ratelimit-remaining")], [200, "60"]);
  assert.equal(await base.settled("u_1"), 9);
  assert.deepEqual([(await post("/bad")).status, (await post("/thrown")).status], [400, 500]);
  assert.equal(await base.settled("u_1"), 9);
  assert.match(await (await post("/unmetered")).text(), /no quota middleware/);

  await base.client.track("u_1", "llm.tokens", 80);
  const denied = await post("/good");
  assert.equal(denied.status, 429);
  assert.match(denied.headers.get("retry-after") ?? "", /^\d+$/);
  assert.equal(((await denied.json()) as { detail: string }).detail, "All used");
  const wrong = await fetch(`${url}/good`, { method: "POST", headers: { "x-user": "x".repeat(300) } });
  assert.equal(wrong.status, 500);
});

test("if an Express client leaves, the work is aborted and the reported usage charged", async () => {
  const base = await world(groups());
  await base.user("u_1");
  let working: () => void;
  const started = new Promise<void>((resolve) => (working = resolve));
  let aborted: () => void;
  const stopped = new Promise<void>((resolve) => (aborted = resolve));
  const url = await serve((app) => {
    app.post("/slow", quota(base.client, { userId: expressUser, event: "llm.tokens", quantity: 40 }), (_request, response) => {
      const reservation = reservationOf(response).use(3);
      reservation.signal.addEventListener("abort", () => aborted());
      response.write("first");
      working();
    });
  });
  const outgoing = httpRequest(`${url}/slow`, { method: "POST", headers: { "x-user": "u_1" } });
  outgoing.on("error", () => {});
  const answer = new Promise<IncomingMessage>((resolve) => outgoing.once("response", resolve));
  outgoing.end();
  await within("the handler to start", started);
  (await within("the head of the answer", answer)).on("error", () => {});
  outgoing.destroy();
  await within("the work to be aborted", stopped);
  assert.equal(await base.settled("u_1"), 3);
});
