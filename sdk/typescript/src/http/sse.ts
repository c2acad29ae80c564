/** Server-sent events out of a body. */

/** One event: its name and its data lines joined. */
export interface ServerSentEvent {
  event: string;
  data: string;
}

/** Reads text as it comes and gives whole lines; the last one may lack its end. */
export async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
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

/** The events of a stream; comments come as events without data, as a sign of life. */
export async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  let event = "message";
  let data: string[] = [];
  for await (const line of linesOf(body)) {
    if (line === "") {
      if (data.length > 0) yield { event, data: data.join("\n") };
      event = "message";
      data = [];
      continue;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "") yield { event: "comment", data: "" };
    else if (field === "data") data.push(value);
    else if (field === "event") event = value;
  }
}
