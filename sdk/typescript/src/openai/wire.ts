/** The format of OpenAI's API: where requests and answers contain tokens. */
import { charactersOf, type TokenUsage } from "../llm/tokens.js";

type Json = Record<string, unknown>;

const object = (value: unknown): Json => (typeof value === "object" && value !== null ? (value as Json) : {});
const number = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** A metered endpoint. */
export interface Endpoint {
  prompt: (body: Json) => unknown;
  /** The maximum of completion tokens of one choice, if the call sets one. */
  maxTokens: (body: Json) => number | undefined;
  /** The field that sets this maximum. */
  limitField: (body: Json) => string;
  /** True if a stream reports its usage only with the option `include_usage`. */
  hasUsageOption: boolean;
  /** Characters of completion in one event of a stream. */
  produced: (event: Json) => number;
}

const chat: Endpoint = {
  prompt: ({ messages, tools }) => [messages, tools],
  maxTokens: (body) => number(body.max_completion_tokens) ?? number(body.max_tokens),
  // Newer models refuse `max_tokens`, and some compatible providers know nothing else.
  limitField: (body) => (number(body.max_tokens) !== undefined && number(body.max_completion_tokens) === undefined ? "max_tokens" : "max_completion_tokens"),
  hasUsageOption: true,
  produced: (event) => list(event.choices).reduce((sum: number, choice) => sum + charactersOf(object(choice).delta), 0),
};

const completions: Endpoint = {
  prompt: ({ prompt }) => prompt,
  maxTokens: (body) => number(body.max_tokens),
  limitField: () => "max_tokens",
  hasUsageOption: true,
  produced: (event) => list(event.choices).reduce((sum: number, choice) => sum + charactersOf(object(choice).text), 0),
};

const responses: Endpoint = {
  prompt: ({ instructions, input, tools }) => [instructions, input, tools],
  maxTokens: (body) => number(body.max_output_tokens),
  limitField: () => "max_output_tokens",
  hasUsageOption: false,
  produced: (event) => (String(event.type).endsWith(".delta") ? charactersOf(event.delta) : 0),
};

const embeddings: Endpoint = {
  prompt: ({ input }) => input,
  maxTokens: () => 0,
  limitField: () => "max_tokens",
  hasUsageOption: false,
  produced: () => 0,
};

const ENDPOINTS: [string, Endpoint][] = [
  ["/chat/completions", chat],
  ["/completions", completions],
  ["/responses", responses],
  ["/embeddings", embeddings],
];

/** How many completions a call requests. */
export function choicesOf(body: Json): number {
  return number(body.n) ?? 1;
}

/** The metered endpoint of a URL, or undefined. */
export function endpointOf(url: string): Endpoint | undefined {
  const path = url.split("?", 1)[0]!;
  return ENDPOINTS.find(([ending]) => path.endsWith(ending))?.[1];
}

/** The usage in an answer or event; the Responses API has it one level deeper. */
export function usageOf(answer: Json): TokenUsage | undefined {
  const usage = object(answer.usage ?? object(answer.response).usage);
  const prompt = number(usage.prompt_tokens) ?? number(usage.input_tokens);
  if (prompt === undefined) return undefined;
  const details = object(usage.prompt_tokens_details ?? usage.input_tokens_details);
  const completion = number(usage.completion_tokens) ?? number(usage.output_tokens) ?? 0;
  return { prompt, completion, cached: number(details.cached_tokens) };
}

/** The provider's id of the answer. */
export function idOf(answer: Json): string | undefined {
  const id = answer.id ?? object(answer.response).id;
  return typeof id === "string" ? id : undefined;
}

/** True for the chunk that only contains usage, which callers expect only if they requested it. */
export function isUsageOnly(event: Json): boolean {
  return Array.isArray(event.choices) && event.choices.length === 0 && object(event.usage) === event.usage;
}
