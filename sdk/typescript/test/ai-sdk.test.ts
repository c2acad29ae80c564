import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import type { LanguageModelV2Middleware } from "@ai-sdk/provider-v2";
import type { LanguageModelV4Middleware } from "@ai-sdk/provider-v4";
import { generateText, type LanguageModelMiddleware, streamText, wrapLanguageModel } from "ai";
import { LimitReached } from "../src/index.js";
import { quotaMiddleware, type TokenRules } from "../src/ai-sdk/index.js";
import type { GroupBody } from "../src/models.js";
import { group, world } from "./support/gateway.js";
import { startModelServer, TOTAL_TOKENS, WORDS } from "./support/model-server.js";

async function metered(rules: Partial<TokenRules> = {}, more: Partial<GroupBody> = {}) {
  const base = await world([group("tokens", 10_000, "llm.*", { unit: "tokens", ...more })]);
  const userId = await base.user("u_1");
  const server = await startModelServer();
  const provider = createOpenAICompatible({ name: "local", baseURL: server.url, includeUsage: true });
  const middleware: LanguageModelMiddleware = quotaMiddleware(base.client, { userId, estimatePrompt: () => 20, ...rules });
  const model = (name: string) => wrapLanguageModel({ model: provider(name), middleware });
  const used = () => base.settled(userId);
  return { ...base, server, model, used };
}

test("generateText commits the provider's usage", async () => {
  const { model, used } = await metered();
  const { text } = await generateText({ model: model("good"), prompt: "Say it.", maxOutputTokens: 500 });
  assert.equal(text, WORDS.join(""));
  assert.equal(await used(), TOTAL_TOKENS);
});

test("streamText commits the usage at its end", async () => {
  const { model, used } = await metered();
  const { textStream } = streamText({ model: model("good"), prompt: "Say it.", maxOutputTokens: 500 });
  let text = "";
  for await (const part of textStream) text += part;
  assert.equal(text, WORDS.join(""));
  assert.equal(await used(), TOTAL_TOKENS);
});

test("an aborted streamText is charged for what it produced", async () => {
  const { model, used } = await metered();
  const controller = new AbortController();
  const { textStream } = streamText({ model: model("hangs"), prompt: "Say it.", maxOutputTokens: 500, abortSignal: controller.signal, onError: () => {} });
  for await (const _ of textStream) controller.abort();
  const charged = await used();
  assert(charged > 20 && charged < 40, `${charged}`);
});

test("a failed call is not charged", async () => {
  const { model, used } = await metered();
  await assert.rejects(generateText({ model: model("fails"), prompt: "Say it.", maxRetries: 0 }));
  assert.equal(await used(), 0);
});

test("a denial throws LimitReached, and the provider is not called", async () => {
  const { model, server } = await metered();
  await assert.rejects(generateText({ model: model("good"), prompt: "Say it.", maxOutputTokens: 20_000 }), (error) => {
    assert(error instanceof LimitReached);
    assert.equal(error.decision.deniedBy[0]?.requested, 20_020);
    return true;
  });
  assert.equal(server.requests.length, 0);
});

test("with minTokens a call gets as many tokens as fit", async () => {
  const measure = { per: { prompt_tokens: "1", completion_tokens: "1" } };
  const { model, server, used } = await metered({ minTokens: 500 }, { measure });
  await generateText({ model: model("good"), prompt: "Say it.", maxOutputTokens: 20_000 });
  assert.equal(server.requests[0]?.body.max_tokens, 10_000 - 20);
  assert.equal(await used(), TOTAL_TOKENS);
  const { textStream } = streamText({ model: model("good"), prompt: "Say it.", maxOutputTokens: 20_000 });
  let text = "";
  for await (const part of textStream) text += part;
  assert.equal(text, WORDS.join(""));
  assert.equal(server.requests[1]?.body.max_tokens, 10_000 - TOTAL_TOKENS - 20);
  assert.equal(await used(), 2 * TOTAL_TOKENS);
  await generateText({ model: model("good"), prompt: "Say it.", maxOutputTokens: 300 });
  assert.equal(server.requests[2]?.body.max_tokens, 300);
});

test("the types fit AI SDK 5 and 7", async () => {
  const { client } = await metered();
  const before: LanguageModelV2Middleware = quotaMiddleware(client, { userId: "u_1" });
  const after: LanguageModelV4Middleware = quotaMiddleware(client, { userId: "u_1" }, "v4");
  assert.equal(typeof before.wrapGenerate, "function");
  assert.equal(after.specificationVersion, "v4");
});
