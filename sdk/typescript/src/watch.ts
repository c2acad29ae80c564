/** Follows a user's counters. */
import type { UsageOptions } from "./call-options.js";
import { abortReason, sleep } from "./http/abort.js";
import { Transient } from "./http/answer.js";
import { backoffMs } from "./http/backoff.js";
import { eventsOf } from "./http/sse.js";
import type { Transport } from "./http/transport.js";
import type { Usage } from "./results.js";

/** The gateway sends something every 15 s, so a connection that is silent for longer is dead. */
const SILENCE_MS = 45_000;

export async function* watch(transport: Transport, userId: string, options: UsageOptions & { event?: string }): AsyncGenerator<Usage, void, undefined> {
  const { signal, event, userToken } = options;
  const headers = { accept: "text/event-stream", ...(userToken !== undefined && { "x-user-token": userToken }) };
  let last = "";
  let failures = 0;
  for (;;) {
    if (signal?.aborted) throw abortReason(signal);
    const controller = new AbortController();
    const onAbort = () => controller.abort();
    signal?.addEventListener("abort", onAbort, { once: true });
    let silence: ReturnType<typeof setTimeout> | undefined;
    let waitMs = 0;
    try {
      const response = await transport.open("usage/stream", { userId, event }, headers, controller);
      silence = setTimeout(onAbort, SILENCE_MS);
      for await (const { event: name, data } of eventsOf(response.body!)) {
        clearTimeout(silence);
        silence = setTimeout(onAbort, SILENCE_MS);
        if (name !== "usage" || data === last) continue;
        const usage = parsed(data);
        if (!usage) break;
        last = data;
        failures = 0;
        yield usage;
      }
    } catch (error) {
      if (signal?.aborted) throw abortReason(signal);
      // A refusal is final; a lost connection is opened again.
      if (error instanceof Transient) waitMs = error.waitMs ?? 0;
      else if (isRefusal(error)) throw error;
    } finally {
      clearTimeout(silence);
      signal?.removeEventListener("abort", onAbort);
      controller.abort();
    }
    await sleep(waitMs + backoffMs((failures += 1)), signal);
  }
}

function parsed(data: string): Usage | undefined {
  try {
    return JSON.parse(data) as Usage;
  } catch {
    return undefined;
  }
}

function isRefusal(error: unknown): boolean {
  const status = (error as { status?: unknown }).status;
  return typeof status === "number" && status >= 400 && status < 500;
}
