/** Endless answers must not fill the memory. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, GatewayUnavailable } from "../src/index.js";
import { eventsOf } from "../src/http/sse.js";
import { PATIENT } from "./support/gateway.js";

const PIECE = new TextEncoder().encode("x".repeat(1024 * 1024));

/** A body that never ends, and how much of it was read. */
function endless(begin: string) {
  const read = { pieces: 0, cancelled: false };
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode(begin)),
    pull: (controller) => {
      read.pieces += 1;
      // Ends the test if the client has no limit.
      if (read.pieces > 100) controller.error(new Error("read on"));
      else controller.enqueue(PIECE);
    },
    cancel: () => void (read.cancelled = true),
  }, { highWaterMark: 0 });
  return { body, read };
}

test("an endless answer is cut off", async () => {
  for (const status of [200, 400, 503]) {
    const { body, read } = endless('{"counters":"');
    const client = createClient({ ...PATIENT, apiKey: "sk_test_x", retries: 0, fetch: () => Promise.resolve(new Response(body, { status })) });
    await assert.rejects(client.usage("u_1"), (error) => error instanceof GatewayUnavailable && error.message.includes("too large"));
    assert.deepEqual([read.pieces <= 33, read.cancelled], [true, true], `${status}: ${read.pieces} MiB`);
  }
});

test("an endless event is cut off, in one line and in many", async () => {
  const lines = endless("");
  const many = lines.body.pipeThrough(new TransformStream<Uint8Array, Uint8Array>({
    transform: (piece, controller) => {
      controller.enqueue(new TextEncoder().encode("\ndata: "));
      controller.enqueue(piece);
    },
  }));
  for (const body of [endless("data: ").body, many]) {
    await assert.rejects(eventsOf(body).next(), RangeError);
  }
  assert(lines.read.pieces < 100, `${lines.read.pieces} MiB`);
});
