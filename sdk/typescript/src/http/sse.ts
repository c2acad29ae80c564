/** Reads server-sent events from a body. */

/** One event: its name, its data lines joined, and its id. */
export interface ServerSentEvent {
  event: string;
  data: string;
  id?: string;
}

/** In characters. No gateway or model provider sends longer lines or events. */
const LONGEST = 32 * 1024 * 1024;

function checkLength(length: number): void {
  if (length > LONGEST) throw new RangeError("an event of the stream is too long");
}

/** The lines of a body; the last one may lack its line end. */
export async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const text = done ? decoder.decode() : decoder.decode(value, { stream: true });
      const goesOn = !done && !rest.endsWith("\r") && !/[\r\n]/.test(text);
      rest += text;
      checkLength(rest.length);
      // A long line is split once at its end, not with each of its parts.
      if (goesOn) continue;
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      yield* lines;
      if (done) break;
    }
    if (rest) yield rest.replace(/\r$/, "");
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** The events of a stream. Comments, which keep the connection alive, and ids alone are events without data. */
export async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  let event = "message";
  let data: string[] = [];
  let length = 0;
  let id: string | undefined;
  for await (const line of linesOf(body)) {
    if (line === "") {
      if (data.length > 0 || id !== undefined) yield { event, data: data.join("\n"), ...(id !== undefined && { id }) };
      event = "message";
      id = undefined;
      data = [];
      length = 0;
      continue;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "") yield { event: "comment", data: "" };
    else if (field === "data") {
      data.push(value);
      checkLength((length += value.length));
    }
    else if (field === "event") event = value;
    else if (field === "id") id = value;
  }
}
