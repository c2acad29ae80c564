/** A server with OpenAI's API. The model's name chooses its behaviour. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";

export const PROMPT_TOKENS = 11;
export const CACHED_TOKENS = 4;
/** The answer, one chunk for each word. */
export const WORDS = ["Quota ", "comes ", "before ", "spending."];
export const COMPLETION_TOKENS = 6;
export const TOTAL_TOKENS = PROMPT_TOKENS + COMPLETION_TOKENS;

type Json = Record<string, unknown>;

export interface ModelServer {
  /** The base URL, with `/v1`. */
  url: string;
  requests: { path: string; body: Json }[];
}

const usage = {
  prompt_tokens: PROMPT_TOKENS,
  completion_tokens: COMPLETION_TOKENS,
  total_tokens: TOTAL_TOKENS,
  prompt_tokens_details: { cached_tokens: CACHED_TOKENS },
};
const responseUsage = {
  input_tokens: PROMPT_TOKENS,
  output_tokens: COMPLETION_TOKENS,
  total_tokens: TOTAL_TOKENS,
  input_tokens_details: { cached_tokens: CACHED_TOKENS },
  output_tokens_details: { reasoning_tokens: 0 },
};

async function jsonOf(request: IncomingMessage): Promise<Json> {
  let text = "";
  for await (const part of request) text += String(part);
  return JSON.parse(text) as Json;
}

function send(response: ServerResponse, status: number, body: Json): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

/** `hangs`: two chunks, then nothing. `breaks`: two chunks, then the connection is cut. */
function stream(response: ServerResponse, model: unknown, events: Json[], done: boolean): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const short = model === "hangs" || model === "breaks";
  const text = (short ? events.slice(0, 3) : events)
    .map((event) => `${typeof event.type === "string" ? `event: ${event.type}\n` : ""}data: ${JSON.stringify(event)}\n\n`)
    .join("");
  if (model === "hangs") return void response.write(text);
  if (model === "breaks") return void response.write(text, () => response.destroy());
  response.end(done ? `${text}data: [DONE]\n\n` : text);
}

function chat(response: ServerResponse, body: Json): void {
  const base = { id: "chatcmpl-1", created: 1, model: body.model };
  if (body.stream !== true) {
    const choices = [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: WORDS.join("") } }];
    return send(response, 200, { ...base, object: "chat.completion", choices, usage });
  }
  const chunk = (delta: Json, finish: string | null = null) => ({ ...base, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] });
  const events: Json[] = [chunk({ role: "assistant", content: "" }), ...WORDS.map((content) => chunk({ content })), chunk({}, "stop")];
  if ((body.stream_options as Json | undefined)?.include_usage === true) events.push({ ...base, object: "chat.completion.chunk", choices: [], usage });
  stream(response, body.model, events, true);
}

function responses(response: ServerResponse, body: Json): void {
  const output = [{ id: "msg_1", type: "message", role: "assistant", status: "completed", content: [{ type: "output_text", text: WORDS.join(""), annotations: [] }] }];
  const whole = { id: "resp_1", object: "response", created_at: 1, model: body.model, status: "completed", output, usage: responseUsage };
  if (body.stream !== true) return send(response, 200, whole);
  const deltas = WORDS.map((delta, index) => ({ type: "response.output_text.delta", item_id: "msg_1", output_index: 0, content_index: 0, sequence_number: index + 1, delta }));
  const created = { type: "response.created", sequence_number: 0, response: { ...whole, status: "in_progress", output: [], usage: null } };
  stream(response, body.model, [created, ...deltas, { type: "response.completed", sequence_number: 9, response: whole }], false);
}

/** Starts the server; it ends with the test file. */
export async function startModelServer(): Promise<ModelServer> {
  const requests: ModelServer["requests"] = [];
  const server = createServer((request, response) => {
    const path = request.url!;
    if (request.method === "GET") return send(response, 200, { object: "list", data: [] });
    void jsonOf(request).then((body) => {
      requests.push({ path, body });
      const text = JSON.stringify(body.model);
      if (text === '"fails"') return send(response, 500, { error: { message: "fell over" } });
      if (path.endsWith("/chat/completions")) return chat(response, body);
      if (path.endsWith("/responses")) return responses(response, body);
      if (path.endsWith("/embeddings")) {
        const data = [{ object: "embedding", index: 0, embedding: [0.1, 0.2] }];
        return send(response, 200, { object: "list", model: body.model, data, usage: { prompt_tokens: PROMPT_TOKENS, total_tokens: PROMPT_TOKENS } });
      }
      return send(response, 404, { error: { message: "no such path" } });
    });
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, requests };
}
