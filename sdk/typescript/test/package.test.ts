/** The package as it would be published, installed into an empty project. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { FOLDER, group, PATIENT_PROGRAM, world } from "./support/gateway.js";

const project = mkdtempSync(join(tmpdir(), "quotagate-empty-"));
after(() => rmSync(project, { recursive: true, force: true }));

function run(command: string, args: string[], options: { cwd?: string; env?: Record<string, string> } = {}): string {
  const env = { PATH: process.env.PATH ?? "", HOME: project, ...options.env };
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: options.cwd ?? project, env, encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")}\n${stdout}\n${stderr}`);
  return stdout;
}

let packed: string[] = [];

before(() => {
  // Without the script that builds: the checks have just built dist from nothing.
  const pack = ["pack", "--ignore-scripts", "--json", "--silent", "--pack-destination", project];
  const [packing] = JSON.parse(run("npm", pack, { cwd: FOLDER })) as { filename: string; files: { path: string }[] }[];
  packed = packing!.files.map((file) => file.path);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true }));
  run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(project, packing!.filename)]);
});

test("it contains the built files and nothing else, and packing builds them", () => {
  assert(["README.md", "package.json", "dist/esm/index.js", "dist/cjs/index.js", "dist/cjs/package.json"].every((path) => packed.includes(path)));
  assert.deepEqual(packed.filter((path) => !/^(dist\/.+\.(js|d\.ts)|dist\/cjs\/package\.json|README\.md|package\.json)$/.test(path)), []);
  const { scripts } = JSON.parse(readFileSync(join(FOLDER, "package.json"), "utf8")) as { scripts: Record<string, string> };
  assert.equal(scripts.prepack, "npm run build");
  const installed = JSON.parse(readFileSync(join(project, "node_modules/.package-lock.json"), "utf8")) as { packages: object };
  assert.deepEqual(Object.keys(installed.packages), ["node_modules/@quotagate/sdk"]);
});

const USE = `
  const client = createClient({ throwOnDeny: true });
  const r = await client.reserve("u_1", "image.render");
  await client.commit(r.reservationId);
  const left = await client.withReservation({ userId: "u_1", event: "image.render" }, () => "done");
  const denied = await client.reserve("u_1", "image.render", 50).catch((error) => error);
  const parts = [meterOpenAI, quotaMiddleware, withQuota, quota].map((part) => typeof part).join();
  console.log(JSON.stringify([r.allowed, left, denied instanceof LimitReached, denied instanceof QuotagateError, denied instanceof Error, parts]));`;
const NAMES: [string, string][] = [
  ["createClient, LimitReached, QuotagateError", "@quotagate/sdk"],
  ["meterOpenAI", "@quotagate/sdk/openai"],
  ["quotaMiddleware", "@quotagate/sdk/ai-sdk"],
  ["withQuota", "@quotagate/sdk/fetch"],
  ["quota", "@quotagate/sdk/express"],
];
const PROGRAMS = {
  "esm.mjs": `${NAMES.map(([names, from]) => `import { ${names} } from "${from}";`).join("\n")}\n${USE}`,
  "common.cjs": `${NAMES.map(([names, from]) => `const { ${names} } = require("${from}");`).join("\n")}\n(async () => {${USE}})();`,
};

for (const [file, text] of Object.entries(PROGRAMS)) {
  test(`${file} uses it against a real gateway`, async () => {
    const { url, user, secretKey, counter } = await world([group("images", 20, "image.*")]);
    await user("u_1");
    writeFileSync(join(project, file), text);
    const output = run(process.execPath, ["--import", PATIENT_PROGRAM, file], { env: { QUOTAGATE_URL: url, QUOTAGATE_KEY: secretKey } });
    assert.deepEqual(JSON.parse(output), [true, "done", true, true, true, "function,function,function,function"]);
    assert.deepEqual(await counter("u_1"), { used: 2, held: 0 });
  });
}

const TYPED = `${NAMES.map(([names, from]) => `import { ${names} } from "${from}";`).join("\n")}
import type { Decision, PlanBody } from "@quotagate/sdk";
const plan: PlanBody = { groups: [{ id: "g", unit: "count", quota: null, matches: [{ event: "*" }] }] };
export async function use(): Promise<string> {
  const client = createClient({ apiKey: "k", onUnavailable: "allow" });
  const r: Decision = await client.reserve("u", "e", "0.5", { model: "a", n: 1, b: true }, { ttlSeconds: 5 });
  const left: number | null | undefined = r.counters[0]?.remaining;
  // @ts-expect-error a client has no such option
  createClient({ apiKey: "k", onUnavailable: "maybe" });
  // @ts-expect-error a unit is one of four
  plan.groups[0]!.unit = "bananas";
  const text: string = await client.withReservation({ userId: "u", event: "e" }, (reservation) => reservation.use(1).signal.aborted ? "" : "x");
  for await (const chunk of await client.streamWithReservation({ userId: "u", event: "e" }, async function* () { yield 1; }, { count: (one) => one })) chunk.toFixed();
  if (new LimitReached(r) instanceof QuotagateError) return String(left) + text;
  return [meterOpenAI, quotaMiddleware, withQuota, quota].join();
}
`;

test("its types work for ES modules, CommonJS and bundlers, without types of Node", () => {
  writeFileSync(join(project, "typed.mts"), TYPED);
  writeFileSync(join(project, "typed.cts"), TYPED);
  writeFileSync(join(project, "typed.ts"), TYPED);
  const tsc = join(FOLDER, "node_modules/typescript/bin/tsc");
  const common = ["--noEmit", "--strict", "--target", "ES2022", "--lib", "ES2022,DOM,DOM.Iterable", "--skipDefaultLibCheck"];
  run(process.execPath, [tsc, ...common, "--module", "NodeNext", "typed.mts", "typed.cts"]);
  run(process.execPath, [tsc, ...common, "--module", "ESNext", "--moduleResolution", "Bundler", "typed.ts"]);
});
