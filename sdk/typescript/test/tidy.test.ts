/** House rules, checked in the source files. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { test } from "node:test";
import ts from "typescript";
import { FOLDER } from "./support/gateway.js";

const MOST_LINES = 400;

function files(folder: string, ending: RegExp): { path: string; text: string }[] {
  const found = readdirSync(join(FOLDER, folder), { recursive: true, withFileTypes: true });
  return found
    .filter((entry) => entry.isFile() && ending.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path: relative(FOLDER, path), text: readFileSync(path, "utf8") }));
}

test("no file is longer than 400 lines", () => {
  const all = ["src", "test", "examples", "scripts"].flatMap((folder) => files(folder, /\.(ts|mjs|html)$/));
  assert(all.length > 40);
  const long = all.filter(({ path, text }) => path !== "src/models.ts" && text.split("\n").length > MOST_LINES);
  assert.deepEqual(long.map(({ path }) => path), []);
});

/** The public methods of exported classes, and the exported functions. */
function publicCalls(path: string, text: string): { name: string; comment: string }[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const calls: { name: string; comment: string }[] = [];
  const commentOf = (node: ts.Node) => ts.getJSDocCommentsAndTags(node).map((tag) => tag.getText()).join("\n");
  const hidden = (node: ts.Node) => ts.canHaveModifiers(node) && (ts.getModifiers(node) ?? []).some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword || kind === ts.SyntaxKind.ProtectedKeyword);
  for (const node of source.statements) {
    if (ts.isFunctionDeclaration(node) && node.name) calls.push({ name: node.name.text, comment: commentOf(node) });
    if (!ts.isClassDeclaration(node)) continue;
    for (const member of node.members) {
      if (!ts.isMethodDeclaration(member) || ts.isPrivateIdentifier(member.name) || hidden(member)) continue;
      const comment = commentOf(member);
      if (!comment.includes("@internal")) calls.push({ name: `${node.name!.text}.${member.name.getText()}`, comment });
    }
  }
  return calls;
}

test("every public method has a comment with an example", () => {
  const methods = ["src/metering.ts", "src/client.ts", "src/reservation/reservation.ts", ...files("src/admin", /\.ts$/).map(({ path }) => path)];
  const functions: Record<string, string[]> = {
    "src/client.ts": ["createClient"],
    "src/rate-limit-headers.ts": ["rateLimitHeaders"],
    "src/user-token.ts": ["userToken"],
    "src/middleware/fetch.ts": ["withQuota"],
    "src/middleware/express.ts": ["quota", "reservationOf"],
    "src/openai/index.ts": ["meterOpenAI", "denialFrom"],
    "src/openai/metered-fetch.ts": ["meteredFetch"],
    "src/ai-sdk/index.ts": ["quotaMiddleware"],
  };
  const bare: string[] = [];
  let seen = 0;
  for (const path of new Set([...methods, ...Object.keys(functions)])) {
    for (const { name, comment } of publicCalls(path, readFileSync(join(FOLDER, path), "utf8"))) {
      if (!name.includes(".") && !functions[path]?.includes(name)) continue;
      seen += 1;
      if (!comment.includes("@example")) bare.push(`${path}: ${name}`);
    }
  }
  assert(seen > 70, `${seen} were looked at`);
  assert.deepEqual(bare, []);
});

test("there are no open tasks in the code, and no dependencies", () => {
  const later = new RegExp(["TO" + "DO", "FIX" + "ME", "XX" + "X"].join("|"));
  for (const { path, text } of [...files("src", /\.ts$/), ...files("test", /\.ts$/), ...files("examples", /\./)]) assert.doesNotMatch(text, later, path);
  const manifest = JSON.parse(readFileSync(join(FOLDER, "package.json"), "utf8")) as { dependencies?: object; devDependencies: Record<string, string> };
  assert.deepEqual(manifest.dependencies ?? {}, {});
  for (const [name, version] of Object.entries(manifest.devDependencies)) assert.match(version, /^(npm:\S+@)?\d+\.\d+\.\d+$/, name);
  for (const { path, text } of files("src", /\.ts$/)) {
    for (const [, from] of text.matchAll(/(?:from|import\() ?"([^"]+)"/g)) assert.match(from!, /^\.{1,2}\//, `${path} imports ${from}`);
  }
});
