import assert from "node:assert/strict";
import { inspect } from "node:util";
import { test } from "node:test";
import { createClient, QuotagateError } from "../src/index.js";

const KEY = "sk_test_c2VjcmV0c2VjcmV0c2VjcmV0";
const TOKEN = "0123456789abcdef0123456789abcdef";

/** Everything that a log could contain. */
function everything(value: unknown): string {
  const error = value instanceof Error ? `${value.message}${value.stack}${String(value)}${JSON.stringify(value, Object.getOwnPropertyNames(value))}` : "";
  return error + inspect(value, { depth: 20, showHidden: true }) + JSON.stringify(value);
}

function clean(value: unknown): void {
  const text = everything(value);
  assert(!text.includes(KEY.slice(8)), text);
  assert(!text.includes(TOKEN), text);
}

async function thrownBy(work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

test("a client does not show its key", () => {
  clean(createClient({ apiKey: KEY, userToken: TOKEN }));
});

test("errors show no key, even if a proxy sends it back", async () => {
  const echo = (status: number) => (_input: string, init: RequestInit) => {
    const sent = JSON.stringify(init.headers);
    return Promise.resolve(new Response(JSON.stringify({ code: "echo", detail: sent, title: sent }), { status }));
  };
  for (const status of [400, 401, 500, 503]) {
    const client = createClient({ apiKey: KEY, userToken: TOKEN, retries: 0, fetch: echo(status) });
    const error = await thrownBy(() => client.usage("u_1"));
    assert(error instanceof QuotagateError);
    assert.match(error.message, /\[key\]/);
    clean(error);
  }
});

test("errors of fetch do not reach the application", async () => {
  const failing = (_input: string, init: RequestInit) => Promise.reject(Object.assign(new TypeError(`cannot send ${JSON.stringify(init.headers)}`), { config: init, cause: { code: "ECONNRESET", init } }));
  const error = await thrownBy(() => createClient({ apiKey: KEY, retries: 0, fetch: failing }).usage("u_1"));
  assert(error instanceof QuotagateError);
  assert.equal(error.message, "The gateway cannot be reached (ECONNRESET)");
  clean(error);
});

test("a key that no header can contain is refused and not shown", async () => {
  for (const apiKey of [`${KEY}\n`, `${KEY} x`, `${KEY}ü`, "", undefined as unknown as string]) {
    const error = await thrownBy(() => createClient({ apiKey }));
    assert(error instanceof QuotagateError);
    assert.equal(error.code, "invalid_options");
    clean(error);
  }
  clean(await thrownBy(() => createClient({ apiKey: "sk_test_x", baseUrl: `http://user:${KEY}@127.0.0.1` })));
});

test("undelivered calls are logged without the key", async (context) => {
  const lines: unknown[] = [];
  context.mock.method(console, "error", (...words: unknown[]) => void lines.push(...words));
  const client = createClient({ apiKey: KEY, retries: 0, fetch: () => Promise.reject(new Error(KEY)) });
  await client.commit("rsv_1");
  await client.close(0);
  assert.equal(lines.length, 2);
  clean(lines);
});

test("the user token of a call is not shown", async () => {
  const echo = (_input: string, init: RequestInit) => {
    const sent = (init.headers as Record<string, string>)["x-user-token"];
    return Promise.resolve(new Response(JSON.stringify({ code: sent, detail: sent, requestId: sent }), { status: 400 }));
  };
  const client = createClient({ apiKey: KEY, fetch: echo });
  clean(await thrownBy(() => client.usage("u_1", undefined, { userToken: TOKEN })));
  clean(await thrownBy(() => client.watchUsage("u_1", { userToken: TOKEN }).next()));
});

test("a value that no header can contain is refused before sending, and not shown", async () => {
  const client = createClient({ apiKey: KEY, fetch: () => assert.fail("must not be sent") });
  for (const wrong of [`${TOKEN}\r\nx-mode: live`, `${TOKEN}\n`, `ü${TOKEN}`, "", ` ${TOKEN}`, TOKEN.repeat(40)]) {
    const calls = [
      () => client.usage("u_1", undefined, { userToken: wrong }),
      () => client.watchUsage("u_1", { userToken: wrong }).next(),
      () => client.admin.events.follow({ after: wrong }).next(),
      () => client.commit("rsv_1", { idempotencyKey: wrong }),
      () => client.track("u_1", "api.call", 1, {}, { idempotencyKey: wrong, keep: true }),
    ];
    for (const call of calls) {
      const error = await thrownBy(call);
      assert(error instanceof QuotagateError, String(error));
      assert.deepEqual([error.code, error.status], ["invalid_request", 400]);
      clean(error);
    }
  }
  assert.equal(client.undeliveredCount, 0);
});
