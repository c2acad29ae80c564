/** Tokens of model calls: what to reserve for, and what to report. */
import type { Reservation, ReservationRequest } from "../reservation/reservation.js";
import type { Metadata } from "../results.js";

/** How model calls are metered. */
export interface TokenRules {
  /** Who pays: 1 to 256 bytes. */
  userId: string;
  /** Default `llm.tokens`; its quantity is prompt and completion tokens together. */
  event?: string;
  /** Facts that go with every call, besides `model`, `provider` and the token counts. */
  metadata?: Metadata;
  /** Assumed where a call does not limit its completion. Default 1,024. */
  defaultMaxTokens?: number;
  /** Prompt tokens of a call that is yet to be made. Default: about one for four characters. */
  estimatePrompt?: (prompt: unknown) => number;
  /** Seconds: 1 to 3,600, default 60; extended while the model works. */
  ttlSeconds?: number;
}

/** What a model call used. */
export interface TokenUsage {
  prompt: number;
  completion: number;
  cached?: number | undefined;
}

const CHARACTERS_PER_TOKEN = 4;
const DEFAULT_EVENT = "llm.tokens";
const DEFAULT_MAX_TOKENS = 1_024;

/** Tokens of so much text, roughly. */
export function tokensOf(characters: number): number {
  return Math.ceil(characters / CHARACTERS_PER_TOKEN);
}

/** The characters of all texts within a value. */
export function charactersOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return 0;
  return Object.values(value).reduce((sum: number, part) => sum + charactersOf(part), 0);
}

/** One call that is yet to be made. */
export interface PlannedCall {
  provider: string;
  model: string;
  prompt: unknown;
  /** The limit of its completion, if it has one. */
  maxTokens: number | undefined;
  signal?: AbortSignal | undefined;
}

/** What to reserve for a call, and its prompt's estimated tokens. */
export function planned(rules: TokenRules, call: PlannedCall): { request: ReservationRequest; promptTokens: number } {
  const promptTokens = rules.estimatePrompt?.(call.prompt) ?? tokensOf(charactersOf(call.prompt));
  const completionTokens = call.maxTokens ?? rules.defaultMaxTokens ?? DEFAULT_MAX_TOKENS;
  const request: ReservationRequest = {
    userId: rules.userId,
    event: rules.event ?? DEFAULT_EVENT,
    // A reserve asks for something.
    quantity: Math.max(1, promptTokens + completionTokens),
    metadata: { model: call.model, provider: call.provider, ...rules.metadata, prompt_tokens: promptTokens, completion_tokens: completionTokens },
    ...(rules.ttlSeconds !== undefined && { ttlSeconds: rules.ttlSeconds }),
    ...(call.signal && { signal: call.signal }),
  };
  return { request, promptTokens };
}

/** Reports what was used in all, in place of any estimate. */
export function reportTokens(reservation: Reservation, usage: TokenUsage, requestId?: string): void {
  const { prompt, completion, cached } = usage;
  reservation.total({
    quantity: prompt + completion,
    prompt_tokens: prompt,
    completion_tokens: completion,
    ...(cached !== undefined && { cached_tokens: cached }),
  });
  if (requestId) reservation.tag({ provider_request_id: requestId });
}
