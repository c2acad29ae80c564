/** The README: its blocks were type-checked, and its first example works when pasted. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import * as sdk from "../src/index.js";
import { FOLDER, group, PATIENT_PROGRAM, world } from "./support/gateway.js";

const README = readFileSync(join(FOLDER, "README.md"), "utf8");

/** Within the package, so that its name leads to the built package. */
const folder = mkdtempSync(join(FOLDER, ".build/readme-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function blocks(): Promise<Map<string, string>> {
  const { blocksOf } = (await import(join(FOLDER, "scripts/readme-blocks.mjs"))) as { blocksOf: (readme: string) => Map<string, string> };
  return blocksOf(README);
}

test("the type check has seen every block of the README in its present form", async () => {
  const found = await blocks();
  const checked = readdirSync(join(FOLDER, ".readme")).sort();
  assert(found.size > 10);
  assert.deepEqual(checked, [...found.keys()].sort());
  for (const [name, code] of found) assert.equal(readFileSync(join(FOLDER, ".readme", name), "utf8"), `${code}export {};\n`);
});

test("every recipe has a block", async () => {
  const recipes = [...README.matchAll(/^### (.+)$/gm)].map((match) => match[1]!.toLowerCase().replace(/\W+/g, "-"));
  const names = [...(await blocks()).keys()].join();
  assert.equal(recipes.length, 8);
  assert.deepEqual(recipes.filter((recipe) => !names.includes(recipe)), ["a-badge-in-a-browser"]);
});

test("the first example has five lines and works when pasted", async () => {
  const [first] = (await blocks()).values();
  assert(first!.trim().split("\n").filter(Boolean).length <= 5);
  const { url, user, secretKey, counter } = await world([group("images", 20, "image.*")]);
  await user("u_42");
  const program = join(folder, "first.mjs");
  writeFileSync(program, first!);
  const env = { PATH: process.env.PATH, QUOTAGATE_URL: url, QUOTAGATE_KEY: secretKey };

  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", PATIENT_PROGRAM, program], { env, encoding: "utf8" });

  assert.deepEqual([status, stdout, stderr], [0, "rendering an image\n", ""]);
  assert.deepEqual(await counter("u_42"), { used: 1, held: 0 });
});

test("the table of errors names every kind of Denied", () => {
  const rows = [...README.matchAll(/^\| `([A-Z]\w+)` \| `\w+` \|/gm)].map((match) => match[1]!);
  const kinds = Object.entries(sdk).filter(([, value]) => typeof value === "function" && value.prototype instanceof sdk.Denied);
  assert.deepEqual(rows.sort(), kinds.map(([name]) => name).sort());
});
