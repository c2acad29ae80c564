/** Follows a stream of the gateway. A lost connection is opened again. */
import { abortReason, sleep } from "./abort.js";
import { Transient } from "./answer.js";
import { backoffMs } from "./backoff.js";
import { eventsOf, type ServerSentEvent } from "./sse.js";
import type { Call, Transport } from "./transport.js";

/** The gateway sends something every 15 s, so a connection that is silent for longer is dead. */
const SILENCE_MS = 45_000;

/** A stream, and how to read its events. */
export interface Stream<T> {
  path: string;
  query: NonNullable<Call["query"]>;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** The value of an event; undefined skips it. If this throws, the stream is opened again. */
  read: (event: ServerSentEvent) => T | undefined;
}

/** The values of a stream until the caller stops. A new connection continues after the last event, if events have ids. */
export async function* follow<T>(transport: Transport, stream: Stream<T>): AsyncGenerator<T, void, undefined> {
  const { path, query, signal, read } = stream;
  const headers: Record<string, string> = { ...stream.headers, accept: "text/event-stream" };
  let failures = 0;
  for (;;) {
    if (signal?.aborted) throw abortReason(signal);
    const controller = new AbortController();
    const onAbort = () => controller.abort();
    signal?.addEventListener("abort", onAbort, { once: true });
    let silence: ReturnType<typeof setTimeout> | undefined;
    let waitMs = 0;
    try {
      const response = await transport.open(path, query, headers, controller);
      silence = setTimeout(onAbort, SILENCE_MS);
      for await (const event of eventsOf(response.body!)) {
        clearTimeout(silence);
        silence = setTimeout(onAbort, SILENCE_MS);
        const value = event.data === "" ? undefined : read(event);
        if (event.id !== undefined) headers["last-event-id"] = event.id;
        if (value === undefined) continue;
        failures = 0;
        yield value;
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

function isRefusal(error: unknown): boolean {
  const status = (error as { status?: unknown }).status;
  return typeof status === "number" && status >= 400 && status < 500;
}
