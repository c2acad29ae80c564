/** The recipes, run unchanged with the built package and a real gateway. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { FOLDER, gateway, group, PATIENT, PATIENT_PROGRAM, ROOT_KEY, world } from "./support/gateway.js";
import { within } from "./support/wait.js";

before(() => assert(existsSync(join(FOLDER, "dist/esm/index.js")), "npm run build comes first"));

/** Runs an example. Returns the lines that it prints. */
async function run(name: string): Promise<string[]> {
  const { url } = await gateway();
  const env = { PATH: process.env.PATH, QUOTAGATE_URL: url, QUOTAGATE_ADMIN_KEY: ROOT_KEY };
  const child = spawn(process.execPath, ["--import", PATIENT_PROGRAM, join(FOLDER, "examples", `${name}.mjs`)], { env });
  const end = () => child.kill("SIGKILL");
  process.once("exit", end);
  let output = "";
  let faults = "";
  child.stdout.on("data", (text: Buffer) => (output += text.toString()));
  child.stderr.on("data", (text: Buffer) => (faults += text.toString()));
  const code = await within(`the example ${name} to end`, new Promise((ended) => child.once("close", ended)));
  process.removeListener("exit", end);
  assert.equal(code, 0, faults);
  assert.equal(faults, "");
  return output.trim().split("\n");
}

const recipes: Record<string, string[]> = {
  "image-fallback": ["a boat by model_a", "a house by model_a", "a tree by model_b", "Model A: 2 used, 0 held of 2", "Model B: 1 used, 0 held of 50"],
  "llm-stream-refund": [
    "Tokens: 0 used, 4000 held of 10000",
    ..."Quota is reserved before it is spent".split(" "),
    "Tokens: 14 used, 0 held of 10000",
    "Tokens: 20 used, 0 held of 10000",
  ],
  "provider-fallback": ["provider a: overloaded", "hello", "Tokens: 120 used, 0 held of 10000", "Spend: 2.4 used, 0 held of 100"],
  "payment-webhook": [
    "invoice.paid: 204, payment-webhook-pro, 97 images left",
    "invoice.paid: 204, payment-webhook-pro, 97 images left",
    "subscription.deleted: 204, payment-webhook, 2 images left",
  ],
  "agent-run": [
    "Agent tokens: 3000 used, 47000 held of 60000",
    "Runs: 1 used, 0 held of 10",
    "done after 4 steps",
    "Agent tokens: 10000 used, 0 held of 60000",
    "Runs: 1 used, 0 held of 10",
    "Limit reached: Agent tokens (50000 requested, 45000 left)",
  ],
  "soft-caps": [
    "50 used, 0 to be invoiced",
    "You have used 85 % of your API calls",
    "85 used, 0 to be invoiced",
    "You have used 105 % of your API calls",
    "105 used, 5 to be invoiced",
    "120 used, 20 to be invoiced",
  ],
  "usage-import": ["line 7: invalid_request", "249 of 250 counted"],
};

for (const [name, lines] of Object.entries(recipes)) {
  test(`example ${name}`, async () => {
    assert.deepEqual(await run(name), lines);
  });
}

test("every example is run here and named in the README", () => {
  const files = readdirSync(join(FOLDER, "examples")).filter((file) => file.endsWith(".mjs") && file !== "setup.mjs");
  assert.deepEqual(files.sort(), Object.keys(recipes).sort().map((name) => `${name}.mjs`));
  const readme = readFileSync(join(FOLDER, "README.md"), "utf8");
  for (const file of files) assert(readme.includes(`examples/${file}`), file);
});

/** Serves the package's folder for the page. */
async function serveFolder(): Promise<string> {
  const server = createServer((request, response) => {
    const path = normalize(join(FOLDER, new URL(request.url!, "http://page").pathname));
    if (!path.startsWith(FOLDER) || !existsSync(path)) return void response.writeHead(404).end();
    response.writeHead(200).end(readFileSync(path));
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

type ShowBadge = (element: { textContent: string | null }, options: object) => Promise<void>;

test("the badge follows a user's counter with a publishable key of its page's origin", async () => {
  const page = await serveFolder();
  const { admin, client, user, url } = await world([group("images", 20, "image.*")]);
  const userId = await user("u_1");
  const { key } = await admin.admin.keys.create({ kind: "publishable", mode: "test", origins: [page] });
  const { showBadge } = (await import(join(FOLDER, "examples/badge/badge.mjs"))) as { showBadge: ShowBadge };
  const controller = new AbortController();
  const texts: string[] = [];
  // A browser would reject the answer without this header.
  const browserFetch = async (input: string, init: RequestInit): Promise<Response> => {
    const response = await fetch(input, { ...init, headers: { ...(init.headers as Record<string, string>), origin: page } });
    assert.equal(response.headers.get("access-control-allow-origin"), page);
    return response;
  };
  const element = {
    set textContent(text: string) {
      texts.push(text);
      if (texts.length === 1) void client.track(userId, "image.render", 12);
      if (texts.length === 2) controller.abort();
    },
  };
  await assert.rejects(showBadge(element, { ...PATIENT, baseUrl: url, apiKey: key, userId, groupId: "images", signal: controller.signal, fetch: browserFetch }), /abort/i);
  assert.match(texts[0]!, /^0\/20 \(20 left\) · resets /);
  assert.match(texts[1]!, /^12\/20 \(8 left\) · resets /);
});

test("every file that the badge's page loads exists", async () => {
  const page = await serveFolder();
  const open = ["/examples/badge/index.html"];
  const loaded = new Set<string>();
  for (let path = open.pop(); path; path = open.pop()) {
    if (loaded.has(path)) continue;
    loaded.add(path);
    const response = await fetch(page + path);
    assert.equal(response.status, 200, path);
    const text = await response.text();
    const names = [...text.matchAll(/(?:from|": ?|import) ?"(\.{1,2}\/[^"]+)"/g)].map((match) => match[1]!);
    for (const name of names) open.push(new URL(name, page + path).pathname);
  }
  assert(loaded.has("/examples/badge/badge.mjs") && loaded.has("/dist/esm/index.js") && loaded.has("/dist/esm/client.js"), [...loaded].join());
});
