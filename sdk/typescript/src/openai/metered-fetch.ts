/** A fetch that meters calls to OpenAI and compatible providers. */
import type { Client } from "../client.js";
import { Denied, GatewayUnavailable } from "../errors.js";
import { planned, reportTokens, type TokenRules, tokensOf } from "../llm/tokens.js";
import { rateLimitHeaders } from "../rate-limit-headers.js";
import type { StartedReservation } from "../reservation/start.js";
import { meteredEvents } from "./metered-events.js";
import { choicesOf, type Endpoint, endpointOf, idOf, usageOf } from "./wire.js";

/** The fetch option of OpenAI clients. */
export type FetchLike = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** The rules for metered calls. */
export interface OpenAIRules extends TokenRules {
  /** The metadata `provider`, for reports and match rules. Default `openai`. */
  provider?: string;
  /** The fetch that sends the calls. Default: that of the client, or of the platform. */
  fetch?: FetchLike;
}

type Json = Record<string, unknown>;

function parsed(text: unknown): Json | undefined {
  if (typeof text !== "string") return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}

/** A call to one of the metered endpoints. */
interface MeteredCall {
  endpoint: Endpoint;
  body: Json;
  signal: AbortSignal | undefined;
}

function meteredCall(input: string | URL | Request, init: RequestInit | undefined): MeteredCall | undefined {
  const url = input instanceof Request ? input.url : String(input);
  const endpoint = init?.method?.toUpperCase() === "POST" ? endpointOf(url) : undefined;
  const body = endpoint && parsed(init?.body);
  return endpoint && body && { endpoint, body, signal: init?.signal ?? undefined };
}

/**
 * A fetch that reserves tokens before a model call and commits the usage of its answer. It meters `chat/completions`,
 * `completions`, `responses` and `embeddings`, streams included; all other calls pass through. Use it for clients that
 * `meterOpenAI` cannot wrap.
 *
 * @example
 * const openai = new OpenAI({ fetch: meteredFetch(client, { userId: "u_42" }) });
 */
export function meteredFetch(client: Client, rules: OpenAIRules): FetchLike {
  const out: FetchLike = rules.fetch ?? ((input, init) => globalThis.fetch(input, init));
  return async (input, init) => {
    const call = meteredCall(input, init);
    if (!call) return out(input, init);
    const { endpoint, body } = call;
    const model = typeof body.model === "string" ? body.model : "unknown";
    const plan = planned(rules, {
      provider: rules.provider ?? "openai",
      model,
      prompt: endpoint.prompt(body),
      maxTokens: endpoint.maxTokens(body),
      choices: choicesOf(body),
      signal: call.signal,
    });
    let started: StartedReservation;
    try {
      started = await client.startReservation(plan.request);
    } catch (error) {
      return refusal(error);
    }
    try {
      const addsUsage = needsUsageOption(call);
      const limit = plan.fitted(started.reservation);
      const changes = { ...(addsUsage && usageOption(body)), ...(limit !== undefined && { [endpoint.limitField(body)]: limit }) };
      const response = await out(input, Object.keys(changes).length > 0 ? withBody(init, { ...body, ...changes }) : init);
      return await settled(started, response, { ...call, addsUsage, promptTokens: plan.promptTokens });
    } catch (error) {
      await started.abandon(error);
      throw error;
    }
  };
}

function needsUsageOption({ endpoint, body }: MeteredCall): boolean {
  const options = body.stream_options as Json | null | undefined;
  return endpoint.hasUsageOption && body.stream === true && options?.include_usage !== true;
}

/** The option that adds usage to the stream. */
function usageOption(body: Json): Json {
  const options = body.stream_options as Json | null | undefined;
  return { stream_options: { ...options, include_usage: true } };
}

/** The same request with another body. */
function withBody(init: RequestInit | undefined, body: Json): RequestInit {
  const headers = new Headers(init?.headers);
  headers.delete("content-length");
  return { ...init, headers, body: JSON.stringify(body) };
}

/** The response, with its reservation settled at the end of its body. */
async function settled(started: StartedReservation, response: Response, call: MeteredCall & { addsUsage: boolean; promptTokens: number }): Promise<Response> {
  if (!response.ok || !response.body) {
    await started.abandon();
    return response;
  }
  const { reservation } = started;
  if (call.body.stream !== true) {
    const text = await response.text();
    const answer = parsed(text) ?? {};
    const usage = usageOf(answer);
    if (usage) reportTokens(reservation, usage, idOf(answer));
    await started.finish();
    return copy(response, text);
  }
  let characters = 0;
  const body = meteredEvents(response.body, {
    started,
    dropUsage: call.addsUsage,
    signal: call.signal,
    onEvent: (event) => {
      const usage = usageOf(event);
      if (usage) return reportTokens(reservation, usage, idOf(event));
      characters += call.endpoint.produced(event);
      // Until the usage arrives, an estimate from the text.
      if (characters > 0) reportTokens(reservation, { prompt: call.promptTokens, completion: tokensOf(characters) }, idOf(event));
    },
  });
  return copy(response, body);
}

function copy(response: Response, body: BodyInit): Response {
  const headers = new Headers(response.headers);
  // The body is already decoded, and may be shorter.
  headers.delete("content-encoding");
  headers.delete("content-length");
  const same = new Response(body, { status: response.status, statusText: response.statusText, headers });
  Object.defineProperty(same, "url", { value: response.url });
  return same;
}

/** An answer that OpenAI clients do not retry. They would wrap and retry a thrown error. */
function refusal(error: unknown): Response {
  const headers = { "content-type": "application/json", "x-should-retry": "false" };
  const answer = (status: number, code: string, message: string, more: object) =>
    new Response(JSON.stringify({ error: { type: "quota", code, message, param: null, ...more } }), { status, headers: { ...headers, ...("decision" in more ? rateLimitHeaders(more.decision as never) : {}) } });
  if (error instanceof Denied) return answer(429, error.code, error.message, { decision: error.decision });
  if (error instanceof GatewayUnavailable) return answer(503, error.code, error.message, {});
  throw error;
}
