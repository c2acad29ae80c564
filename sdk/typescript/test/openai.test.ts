import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { denialFrom, meteredFetch, meterOpenAI, type OpenAIRules } from "../src/openai/index.js";
import { group, world } from "./support/gateway.js";
import { CACHED_TOKENS, COMPLETION_TOKENS, PROMPT_TOKENS, startModelServer, TOTAL_TOKENS, WORDS } from "./support/model-server.js";
import { startProxy } from "./support/proxy.js";
import { PATIENCE_MS } from "./support/timers.js";

const messages = [{ role: "user" as const, content: "Say it." }];

/** A metered client of a local server, and the user's counters. */
async function metered(rules: Partial<OpenAIRules> = {}) {
  const base = await world([
    group("tokens", 10_000, "llm.*", { unit: "tokens", measure: "quantity" }),
    group("calls", null, "llm.*", { measure: "event" }),
    group("cents", null, "llm.*", {
      unit: "cents",
      matches: [{ event: "llm.*", metadata: { model: "good" }, measure: { per: { prompt_tokens: "0.5", completion_tokens: "1", cached_tokens: "0.25" }, estimate: { cached_tokens: 0 } } }],
    }),
  ]);
  const userId = await base.user("u_1");
  const server = await startModelServer();
  const plain = new OpenAI({ apiKey: "provider-key", baseURL: server.url, maxRetries: 2 });
  const openai = meterOpenAI(plain, base.client, { userId, ...rules });
  const used = () => base.settled(userId);
  return { ...base, userId, server, plain, openai, used };
}

test("a chat completion reserves its max_tokens and commits its usage", async () => {
  const { plain, client, userId, counter, server } = await metered();
  const held: number[] = [];
  const openai = meterOpenAI(plain, client, {
    userId,
    estimatePrompt: () => 20,
    fetch: async (input, init) => {
      held.push((await counter(userId)).held);
      return fetch(input, init);
    },
  });
  const chat = await openai.chat.completions.create({ model: "good", max_tokens: 500, messages });
  assert.equal(chat.choices[0]?.message.content, WORDS.join(""));
  assert.deepEqual(held, [520]);
  assert.deepEqual(await counter(userId), { used: TOTAL_TOKENS, held: 0 });
  assert.deepEqual(await counter(userId, "calls"), { used: 1, held: 0 });
  const cents = PROMPT_TOKENS * 0.5 + COMPLETION_TOKENS + CACHED_TOKENS * 0.25;
  assert.deepEqual(await counter(userId, "cents"), { used: cents, held: 0 });
  assert.equal(server.requests[0]?.body.stream_options, undefined);
});

test("a call reserves the prompt and the limit of the completion", async () => {
  const { openai, used } = await metered({ estimatePrompt: () => 100 });
  await openai.chat.completions.create({ model: "good", max_tokens: 9_900, messages });
  await assert.rejects(openai.chat.completions.create({ model: "good", max_completion_tokens: 9_900, messages }), OpenAI.RateLimitError);
  await assert.rejects(openai.chat.completions.create({ model: "good", max_tokens: 3_000, n: 4, messages }), OpenAI.RateLimitError);
  await openai.chat.completions.create({ model: "good", messages });
  assert.equal(await used(), 2 * TOTAL_TOKENS);
});

test("a stream commits its usage, and the caller gets only the chunks that it requested", async () => {
  const { openai, used, server } = await metered();
  const stream = await openai.chat.completions.create({ model: "good", max_tokens: 500, messages, stream: true });
  let text = "";
  for await (const chunk of stream) {
    assert.equal(chunk.choices.length, 1, "the usage chunk was not requested");
    text += chunk.choices[0]?.delta.content ?? "";
  }
  assert.equal(text, WORDS.join(""));
  assert.equal(await used(), TOTAL_TOKENS);
  assert.deepEqual(server.requests[0]?.body.stream_options, { include_usage: true });

  const asking = await openai.chat.completions.create({ model: "good", messages, stream: true, stream_options: { include_usage: true } });
  let total: number | undefined;
  for await (const chunk of asking) total = chunk.usage?.total_tokens ?? total;
  assert.equal(total, TOTAL_TOKENS);
  assert.equal(await used(), 2 * TOTAL_TOKENS);
});

test("a stream that is left early, aborted or cut is charged for what it produced", async () => {
  const { openai, used } = await metered({ estimatePrompt: () => 20 });
  const early = await openai.chat.completions.create({ model: "good", max_tokens: 500, messages, stream: true });
  for await (const chunk of early) if (chunk.choices[0]?.delta.content) break;
  const afterOne = await used();
  assert(afterOne > 20 && afterOne < 20 + COMPLETION_TOKENS, `${afterOne}`);

  for (const model of ["hangs", "breaks"]) {
    const before = await used();
    const stream = await openai.chat.completions.create({ model, max_tokens: 500, messages, stream: true });
    let chunks = 0;
    const read = async () => {
      for await (const _ of stream) if ((chunks += 1) === 3 && model === "hangs") stream.controller.abort();
    };
    if (model === "breaks") await assert.rejects(read());
    else await read();
    assert.equal(chunks, 3);
    const added = (await used()) - before;
    assert(added > 20 && added < 40, `${model}: ${added}`);
  }
});

test("the Responses API and embeddings are metered too, and other calls are not", async () => {
  const { openai, used } = await metered();
  assert.equal((await openai.responses.create({ model: "good", input: "Say it.", max_output_tokens: 100 })).output_text, WORDS.join(""));
  assert.equal(await used(), TOTAL_TOKENS);
  const stream = await openai.responses.create({ model: "good", input: "Say it.", stream: true });
  let text = "";
  for await (const event of stream) if (event.type === "response.output_text.delta") text += event.delta;
  assert.equal(text, WORDS.join(""));
  assert.equal(await used(), 2 * TOTAL_TOKENS);
  await openai.embeddings.create({ model: "good", input: ["one", "two"], encoding_format: "float" });
  assert.equal(await used(), 2 * TOTAL_TOKENS + PROMPT_TOKENS);
  await openai.models.list();
  assert.equal(await used(), 2 * TOTAL_TOKENS + PROMPT_TOKENS);
});

test("the client's helpers are metered", async () => {
  const { openai, used } = await metered();
  const { data, response } = await openai.chat.completions.create({ model: "good", messages }).withResponse();
  assert.deepEqual([data.usage?.total_tokens, response.status], [TOTAL_TOKENS, 200]);
  const runner = openai.chat.completions.stream({ model: "good", messages });
  assert.equal(await runner.finalContent(), WORDS.join(""));
  assert.equal(await used(), 2 * TOTAL_TOKENS);
});

test("a failed call is not charged, however often it is retried", async () => {
  const { openai, used, server, counter, userId } = await metered();
  await assert.rejects(openai.withOptions({ maxRetries: 1 }).chat.completions.create({ model: "fails", messages }), OpenAI.InternalServerError);
  assert.equal(server.requests.length, 2);
  assert.equal(await used(), 0);
  assert.deepEqual(await counter(userId, "calls"), { used: 0, held: 0 });
});

test("a denial is the client's own rate limit error, is not retried, and contains the decision", async () => {
  const { openai, server } = await metered();
  await assert.rejects(openai.chat.completions.create({ model: "good", max_tokens: 20_000, messages }), (error) => {
    assert(error instanceof OpenAI.RateLimitError);
    assert.equal(error.code, "limit_reached");
    assert.match(error.headers.get("ratelimit") ?? "", /"tokens";r=10000/);
    const denied = denialFrom(error);
    assert.equal(denied?.decision.deniedBy[0]?.groupId, "tokens");
    return true;
  });
  assert.equal(server.requests.length, 0);
  assert.equal(denialFrom(new Error("other")), undefined);
});

test("with minTokens a call gets as many tokens as fit", async () => {
  const { openai, server, used } = await metered({ estimatePrompt: () => 100, minTokens: 500, fitField: "quantity" });
  const last = () => server.requests.at(-1)?.body;
  await openai.chat.completions.create({ model: "good", max_tokens: 20_000, messages });
  assert.equal(last()?.max_tokens, 10_000 - 100);
  assert.equal(await used(), TOTAL_TOKENS);
  const stream = await openai.chat.completions.create({ model: "good", max_completion_tokens: 20_000, n: 3, messages, stream: true });
  for await (const _ of stream);
  assert.equal(last()?.max_completion_tokens, Math.floor((10_000 - TOTAL_TOKENS - 100) / 3));
  assert.deepEqual(last()?.stream_options, { include_usage: true });
  assert.equal(await used(), 2 * TOTAL_TOKENS);
  await openai.responses.create({ model: "good", input: "Say it.", max_output_tokens: 20_000 });
  assert.equal(last()?.max_output_tokens, 10_000 - 2 * TOTAL_TOKENS - 100);
  assert.equal(await used(), 3 * TOTAL_TOKENS);
  // A call without a maximum gets the default, and never less than the minimum.
  await openai.chat.completions.create({ model: "good", n: 2, messages });
  assert.deepEqual([last()?.max_completion_tokens, last()?.max_tokens], [1_024, undefined]);
  await openai.embeddings.create({ model: "good", input: "one", encoding_format: "float" });
  assert.equal(last()?.max_tokens, undefined);
  await assert.rejects(openai.chat.completions.create({ model: "good", max_tokens: 20_000, n: 20, messages }), OpenAI.RateLimitError);
});

test("without the gateway onUnavailable decides", async () => {
  const { url, connect, userId, server, used } = await metered();
  const proxy = await startProxy(url);
  proxy.always(() => "cut-before");
  const clientOf = (onUnavailable: "allow" | "deny") => connect({ baseUrl: proxy.url, retries: 0, onUnavailable });
  const openaiOf = (client: ReturnType<typeof clientOf>) => new OpenAI({ apiKey: "provider-key", baseURL: server.url, fetch: meteredFetch(client, { userId, minTokens: 300 }) });
  await assert.rejects(openaiOf(clientOf("deny")).chat.completions.create({ model: "good", messages }), (error) => error instanceof OpenAI.APIError && error.status === 503);
  assert.equal(server.requests.length, 0);
  const allowing = clientOf("allow");
  await openaiOf(allowing).chat.completions.create({ model: "good", messages });
  assert.equal(server.requests[0]?.body.max_completion_tokens, 300);
  proxy.always(() => "pass");
  assert.equal(await allowing.flush(PATIENCE_MS), 0);
  assert.equal(await used(), TOTAL_TOKENS);
});
