/** Parts that need no gateway. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, QuotagateError } from "../src/index.js";
import { backoffMs, retryAfterMs } from "../src/http/backoff.js";
import { newIdempotencyKey } from "../src/http/idempotency.js";
import { eventsOf } from "../src/http/sse.js";
import { settingsOf } from "../src/options.js";
import { add } from "../src/reservation/reported-usage.js";

test("waits are random below a limit that grows to a maximum", () => {
  const longest = [0, 1, 2, 3, 4, 5, 50].map((attempt) => backoffMs(attempt, () => 0.999_999));
  assert.deepEqual(longest, [99, 199, 399, 799, 1_599, 1_999, 1_999]);
  assert.equal(backoffMs(5, () => 0), 0);
  assert.equal(backoffMs(5, () => 0.5), 1_000);
});

test("Retry-After is seconds or a date", () => {
  assert.equal(retryAfterMs(null), undefined);
  assert.equal(retryAfterMs("3"), 3_000);
  assert.equal(retryAfterMs("Wed, 21 Oct 2026 07:28:00 GMT", Date.UTC(2026, 9, 21, 7, 27, 30)), 30_000);
  assert.equal(retryAfterMs("Wed, 21 Oct 2026 07:28:00 GMT", Date.UTC(2027, 0, 1)), 0);
  assert.equal(retryAfterMs("soon"), undefined);
});

test("idempotency keys are unique with every source of randomness", () => {
  const sources = [crypto, { getRandomValues: crypto.getRandomValues.bind(crypto) }, undefined, {}];
  for (const source of sources) {
    const keys = Array.from({ length: 1_000 }, () => newIdempotencyKey(source));
    assert.equal(new Set(keys).size, 1_000);
    assert(keys.every((key) => /^[0-9a-f-]{32,64}$/.test(key)), keys[0]);
  }
});

test("fractions add up to a millionth, whole numbers exactly", () => {
  assert.equal(add(0.1, 0.2), 0.3);
  assert.equal(add(1e-6, 2e-6), 3e-6);
  assert.equal(add(2 ** 53 - 2, 1), 2 ** 53 - 1);
});

test("server-sent events are read correctly however the bytes are divided", async () => {
  const text = ': hello\r\n\r\nevent: usage\r\ndata: {"a":\r\ndata: "ü"}\r\n\r\ndata:2\n\nid: 7\ndata: 3\n\n: here\nid: 8\n\nid: 9\ndata: unfinished';
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 3, 7, bytes.length]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.subarray(index * size, (index + 1) * size));
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const piece of pieces) controller.enqueue(piece);
        controller.close();
      },
    });
    const events = [];
    for await (const event of eventsOf(body)) events.push(event);
    assert.deepEqual(events, [{ event: "comment", data: "" }, { event: "usage", data: '{"a":\n"ü"}' }, { event: "message", data: "2" },
      { event: "message", data: "3", id: "7" }, { event: "comment", data: "" }, { event: "message", data: "", id: "8" }], `pieces of ${size}`);
  }
});

test("the address comes from the options or the environment, or is the default", () => {
  const before = process.env.QUOTAGATE_URL;
  try {
    delete process.env.QUOTAGATE_URL;
    assert.equal(settingsOf({ apiKey: "k" }).baseUrl, "http://127.0.0.1:8080");
    process.env.QUOTAGATE_URL = "https://quota.example.com/gate/";
    assert.equal(settingsOf({ apiKey: "k" }).baseUrl, "https://quota.example.com/gate");
    assert.equal(settingsOf({ apiKey: "k", baseUrl: "http://10.0.0.1:9" }).baseUrl, "http://10.0.0.1:9");
  } finally {
    if (before === undefined) delete process.env.QUOTAGATE_URL;
    else process.env.QUOTAGATE_URL = before;
  }
});

test("the key comes from the options or the environment", () => {
  const before = process.env.QUOTAGATE_KEY;
  const invalid = (error: unknown) => error instanceof QuotagateError && error.code === "invalid_options" && error.message.includes("QUOTAGATE_KEY");
  try {
    process.env.QUOTAGATE_KEY = "sk_test_environment";
    assert.equal(settingsOf({}).headers.authorization, "Bearer sk_test_environment");
    assert.equal(settingsOf({ apiKey: "sk_test_option" }).headers.authorization, "Bearer sk_test_option");
    delete process.env.QUOTAGATE_KEY;
    assert.throws(() => createClient(), invalid);
  } finally {
    if (before === undefined) delete process.env.QUOTAGATE_KEY;
    else process.env.QUOTAGATE_KEY = before;
  }
});

test("invalid options are refused", () => {
  const wrong = [{ baseUrl: "nowhere" }, { baseUrl: "ftp://x" }, { timeoutMs: 0 }, { deadlineMs: NaN }, { retries: -1 }, { onUnavailable: "maybe" as never }, { mode: "test main" }];
  for (const options of wrong) {
    assert.throws(() => createClient({ apiKey: "k", ...options }), (error) => error instanceof QuotagateError && error.code === "invalid_options", JSON.stringify(options));
  }
});

test("applications can throw QuotagateError", () => {
  const error = new QuotagateError({ code: "my_code", message: "Mine.", status: 418 });
  assert(error instanceof Error);
  assert.deepEqual([error.name, error.code, error.message, error.status, error.errors], ["QuotagateError", "my_code", "Mine.", 418, []]);
});
