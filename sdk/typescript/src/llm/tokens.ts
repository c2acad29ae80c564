/** Tokens of model calls: the figures to reserve and to report. */
import type { Reservation, ReservationRequest } from "../reservation/reservation.js";
import type { Metadata } from "../results.js";

/** The rules for metered model calls. */
export interface TokenRules {
  /** The user's id: 1 to 256 bytes. */
  userId: string;
  /** Default `llm.tokens`. The quantity is the sum of prompt and completion tokens. */
  event?: string;
  /** Metadata of every call, in addition to `model`, `provider` and the token counts. */
  metadata?: Metadata;
  /** The completion tokens to reserve if a call sets no maximum. Default 1,024. */
  defaultMaxTokens?: number;
  /** Estimates the prompt tokens of a call. Default: one for four characters. */
  estimatePrompt?: (prompt: unknown) => number;
  /** Seconds: 1 to 3,600, default 60. The client extends the hold while the model works. */
  ttlSeconds?: number;
}

/** The usage of a model call. */
export interface TokenUsage {
  prompt: number;
  completion: number;
  cached?: number | undefined;
}

const CHARACTERS_PER_TOKEN = 4;
const DEFAULT_EVENT = "llm.tokens";
const DEFAULT_MAX_TOKENS = 1_024;

/** An estimate of the tokens in this many characters. */
export function tokensOf(characters: number): number {
  return Math.ceil(characters / CHARACTERS_PER_TOKEN);
}

/** The number of characters in all texts of a value. */
export function charactersOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return 0;
  return Object.values(value).reduce((sum: number, part) => sum + charactersOf(part), 0);
}

/** A call that has not been sent yet. */
export interface PlannedCall {
  provider: string;
  model: string;
  prompt: unknown;
  /** The maximum of completion tokens, if the call sets one. */
  maxTokens: number | undefined;
  signal?: AbortSignal | undefined;
}

/** The reservation for a call, and the estimated tokens of its prompt. */
export function planned(rules: TokenRules, call: PlannedCall): { request: ReservationRequest; promptTokens: number } {
  const promptTokens = rules.estimatePrompt?.(call.prompt) ?? tokensOf(charactersOf(call.prompt));
  const completionTokens = call.maxTokens ?? rules.defaultMaxTokens ?? DEFAULT_MAX_TOKENS;
  const request: ReservationRequest = {
    userId: rules.userId,
    event: rules.event ?? DEFAULT_EVENT,
    // A reserve needs a quantity above 0.
    quantity: Math.max(1, promptTokens + completionTokens),
    metadata: { model: call.model, provider: call.provider, ...rules.metadata, prompt_tokens: promptTokens, completion_tokens: completionTokens },
    ...(rules.ttlSeconds !== undefined && { ttlSeconds: rules.ttlSeconds }),
    ...(call.signal && { signal: call.signal }),
  };
  return { request, promptTokens };
}

/** Reports the total usage, which replaces earlier estimates. */
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
