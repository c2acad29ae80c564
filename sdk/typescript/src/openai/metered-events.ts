/** Passes a stream of server-sent events through, reads its figures, and settles at its end. */
import { linesOf } from "../http/sse.js";
import type { StartedReservation } from "../reservation/start.js";
import { isUsageOnly } from "./wire.js";

type Json = Record<string, unknown>;

/** The options of {@link meteredEvents}. */
export interface EventMeter {
  started: StartedReservation;
  /** Drop the chunk that only contains usage: the caller did not request it. */
  dropUsage: boolean;
  signal: AbortSignal | undefined;
  onEvent: (event: Json) => void;
}

/** The data of an event as JSON; undefined for `[DONE]` and other text. */
function dataOf(lines: string[]): Json | undefined {
  const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5));
  try {
    const value: unknown = JSON.parse(data.join("\n"));
    return typeof value === "object" && value !== null ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}

/** The events as lists of lines; the last one may lack the empty line. */
async function* blocksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string[]> {
  let lines: string[] = [];
  for await (const line of linesOf(body)) {
    if (line !== "") {
      lines.push(line);
      continue;
    }
    if (lines.length > 0) yield lines;
    lines = [];
  }
  if (lines.length > 0) yield lines;
}

/** The same events. Settles the reservation before the last one, or when the reader leaves. */
export function meteredEvents(body: ReadableStream<Uint8Array>, meter: EventMeter): ReadableStream<Uint8Array> {
  const { started, signal } = meter;
  const blocks = blocksOf(body);
  const encoder = new TextEncoder();
  const leave = () => (started.reservation.hasUsed ? started.finish() : started.abandon());
  const onAbort = () => void leave().catch(() => {});
  signal?.addEventListener("abort", onAbort, { once: true });

  async function next(): Promise<string[] | undefined> {
    for (;;) {
      const block = await blocks.next();
      if (block.done) return undefined;
      const event = dataOf(block.value);
      if (event) meter.onEvent(event);
      if (!(event && meter.dropUsage && isUsageOnly(event))) return block.value;
    }
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const lines = await next();
          const last = lines === undefined || lines.some((line) => line.startsWith("data:") && line.slice(5).trim() === "[DONE]");
          if (last) {
            signal?.removeEventListener("abort", onAbort);
            await started.finish();
          }
          if (lines) controller.enqueue(encoder.encode(`${lines.join("\n")}\n\n`));
          else controller.close();
        } catch (error) {
          await leave();
          throw error;
        }
      },
      async cancel() {
        await Promise.allSettled([blocks.return(undefined), leave()]);
      },
    },
    // Reads, and so counts, only what the reader requests.
    { highWaterMark: 0 },
  );
}
