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
  /**
   * Reserve as many completion tokens as fit, at least this many, and lower the call's own maximum to them. Default:
   * reserve the maximum, and deny the call if it does not fit. Without an answer of the gateway the call gets this many.
   */
  minTokens?: number;
  /** With `minTokens`: the figure by which your limits measure. Default `completion_tokens`; `quantity` contains the prompt. */
  fitField?: "completion_tokens" | "quantity";
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
  /** The maximum of completion tokens of one choice, if the call sets one. */
  maxTokens: number | undefined;
  /** How many completions the call requests. Default 1. */
  choices?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** The reservation for a call, and the estimated tokens of its prompt. */
export interface Plan {
  request: ReservationRequest;
  promptTokens: number;
  /** The completion tokens that one choice may have; undefined if the call keeps its own maximum. */
  fitted: (reservation: Reservation) => number | undefined;
}

/** Plans the reservation for a call. */
export function planned(rules: TokenRules, call: PlannedCall): Plan {
  const promptTokens = rules.estimatePrompt?.(call.prompt) ?? tokensOf(charactersOf(call.prompt));
  const choices = call.choices ?? 1;
  const completionTokens = (call.maxTokens ?? rules.defaultMaxTokens ?? DEFAULT_MAX_TOKENS) * choices;
  const least = rules.minTokens === undefined ? 0 : Math.min(rules.minTokens * choices, completionTokens);
  const field = rules.fitField ?? "completion_tokens";
  const base = field === "quantity" ? promptTokens : 0;
  // Without completion tokens, as for embeddings, there is nothing to lower.
  const fit = least > 0 ? { field, min: base + least } : undefined;
  const request: ReservationRequest = {
    userId: rules.userId,
    event: rules.event ?? DEFAULT_EVENT,
    // A reserve needs a quantity above 0.
    quantity: Math.max(1, promptTokens + completionTokens),
    metadata: { model: call.model, provider: call.provider, ...rules.metadata, prompt_tokens: promptTokens, completion_tokens: completionTokens },
    ...(fit && { fit }),
    ...(rules.ttlSeconds !== undefined && { ttlSeconds: rules.ttlSeconds }),
    ...(call.signal && { signal: call.signal }),
  };
  const fitted = (reservation: Reservation) =>
    fit && Math.max(1, Math.floor(((reservation.fitted?.[field] ?? fit.min) - base) / choices));
  return { request, promptTokens, fitted };
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
