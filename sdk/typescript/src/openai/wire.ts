/** The wire format of OpenAI and of what is compatible with it: where the tokens are. */
import { charactersOf, type TokenUsage } from "../llm/tokens.js";

type Json = Record<string, unknown>;

const object = (value: unknown): Json => (typeof value === "object" && value !== null ? (value as Json) : {});
const number = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** One of the endpoints that are metered. */
export interface Endpoint {
  prompt: (body: Json) => unknown;
  maxTokens: (body: Json) => number | undefined;
  /** Must the stream be asked to tell its usage? */
  asksForUsage: boolean;
  /** Characters of completion in one event of a stream. */
  produced: (event: Json) => number;
}

const chat: Endpoint = {
  prompt: ({ messages, tools }) => [messages, tools],
  maxTokens: (body) => times(number(body.max_completion_tokens) ?? number(body.max_tokens), body.n),
  asksForUsage: true,
  produced: (event) => list(event.choices).reduce((sum: number, choice) => sum + charactersOf(object(choice).delta), 0),
};

const completions: Endpoint = {
  prompt: ({ prompt }) => prompt,
  maxTokens: (body) => times(number(body.max_tokens), body.n),
  asksForUsage: true,
  produced: (event) => list(event.choices).reduce((sum: number, choice) => sum + charactersOf(object(choice).text), 0),
};

const responses: Endpoint = {
  prompt: ({ instructions, input, tools }) => [instructions, input, tools],
  maxTokens: (body) => number(body.max_output_tokens),
  asksForUsage: false,
  produced: (event) => (String(event.type).endsWith(".delta") ? charactersOf(event.delta) : 0),
};

const embeddings: Endpoint = {
  prompt: ({ input }) => input,
  maxTokens: () => 0,
  asksForUsage: false,
  produced: () => 0,
};

const ENDPOINTS: [string, Endpoint][] = [
  ["/chat/completions", chat],
  ["/completions", completions],
  ["/responses", responses],
  ["/embeddings", embeddings],
];

function times(limit: number | undefined, n: unknown): number | undefined {
  return limit === undefined ? undefined : limit * (number(n) ?? 1);
}

/** The metered endpoint that a URL names, if it does. */
export function endpointOf(url: string): Endpoint | undefined {
  const path = url.split("?", 1)[0]!;
  return ENDPOINTS.find(([ending]) => path.endsWith(ending))?.[1];
}

/** The usage in an answer or in an event of a stream; the Responses API has it one level down. */
export function usageOf(answer: Json): TokenUsage | undefined {
  const usage = object(answer.usage ?? object(answer.response).usage);
  const prompt = number(usage.prompt_tokens) ?? number(usage.input_tokens);
  if (prompt === undefined) return undefined;
  const details = object(usage.prompt_tokens_details ?? usage.input_tokens_details);
  const completion = number(usage.completion_tokens) ?? number(usage.output_tokens) ?? 0;
  return { prompt, completion, cached: number(details.cached_tokens) };
}

/** The id that the provider gave the answer. */
export function idOf(answer: Json): string | undefined {
  const id = answer.id ?? object(answer.response).id;
  return typeof id === "string" ? id : undefined;
}

/** The chunk that has usage and nothing else: only those who asked for it expect it. */
export function isUsageOnly(event: Json): boolean {
  return Array.isArray(event.choices) && event.choices.length === 0 && object(event.usage) === event.usage;
}
