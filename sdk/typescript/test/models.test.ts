import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import ts from "typescript";
import { FOLDER } from "./support/gateway.js";

type Generate = (document: unknown) => string;
const { generate } = (await import(join(FOLDER, "scripts/generate-models.mjs"))) as { generate: Generate };
const document = JSON.parse(readFileSync(resolve(FOLDER, "../../docs/openapi.json"), "utf8")) as { components: { schemas: Record<string, unknown> } };

test("the models match openapi.json: npm run generate", () => {
  assert.equal(readFileSync(join(FOLDER, "src/models.ts"), "utf8"), generate(document));
});

test("the generator does not depend on the order of the document", () => {
  const turned = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(turned);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).reverse().map(([key, inner]) => [key, turned(inner)]));
  };
  assert.equal(generate(turned(document)), generate(document));
});

test("the generator accepts new kinds of schemas", () => {
  const schemas = {
    Odd_Name: { type: "object", required: ["a-b"], properties: { "a-b": { type: "string", format: "date" }, also: { const: 7 } } },
    Any: { description: "Two lines,\nand */ an end.", anyOf: [{ type: "string" }, { type: "array", items: { oneOf: [{ type: "number" }, { type: "null" }] } }] },
    Free: { type: "object" },
    Map: { type: "object", additionalProperties: { type: "object", required: ["n"], properties: { n: { type: "integer", minimum: 1, maximum: 9, default: 3 } } } },
    Mixed: { allOf: [{ $ref: "#/components/schemas/Any" }, { oneOf: [{ $ref: "#/components/schemas/Free" }, { type: "object", properties: { kind: { enum: ["x", "y", null] } } }] }] },
    Nothing: {},
    Never: false,
  };
  const text = generate({ components: { schemas } });
  const { diagnostics } = ts.transpileModule(text, { reportDiagnostics: true });
  assert.deepEqual(diagnostics?.map((one) => one.messageText), []);
  for (const part of ['  "a-b": string;', "  also?: 7;", "export type Any = string | (number | null)[];", "Range 1 to 9.", "Default 3.", 'kind?: "x" | "y" | null;', "export type Nothing = unknown;", "export type Never = never;"]) {
    assert(text.includes(part), `${part} in\n${text}`);
  }
});
