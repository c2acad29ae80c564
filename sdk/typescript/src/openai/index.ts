/** Metering for the OpenAI client, and for every other one that speaks its wire format. */
import type { Client } from "../client.js";
import { LimitReached } from "../errors.js";
import type { Decision } from "../results.js";
import { type FetchLike, meteredFetch, type OpenAIRules } from "./metered-fetch.js";

export { type FetchLike, meteredFetch, type OpenAIRules } from "./metered-fetch.js";
export type { TokenRules } from "../llm/tokens.js";

/** The part of the client of `openai` (5 or later) that is used. */
export interface OpenAILike {
  withOptions(options: object): unknown;
}

/**
 * The same client for one user: each call reserves prompt tokens (estimated) and its `max_tokens`, and commits the
 * `usage` of its answer; of streams too, and what was produced if you stop early. Failed attempts release. All its
 * methods are metered, also `parse`, `stream` and `runTools`. It is cheap: make one for each request.
 *
 * A denial comes as the client's own `RateLimitError` (429, not retried); {@link limitReachedFrom} turns it into
 * `LimitReached`. When the gateway cannot be reached and may not be done without: an `APIError` with status 503.
 *
 * @example
 * const openai = meterOpenAI(new OpenAI(), client, { userId: "u_42", metadata: { team: "search" } });
 * const chat = await openai.chat.completions.create({ model: "gpt-4o-mini", max_tokens: 500, messages });
 */
export function meterOpenAI<T extends OpenAILike>(openai: T, client: Client, rules: OpenAIRules): T {
  const own = (openai as { fetch?: FetchLike }).fetch;
  const fetch = rules.fetch ?? own;
  return openai.withOptions({ fetch: meteredFetch(client, { ...rules, ...(fetch && { fetch }) }) }) as T;
}

/**
 * The denial in an error that a metered OpenAI client has thrown; undefined for any other error.
 *
 * @example
 * catch (error) {
 *   const denied = limitReachedFrom(error);
 *   if (denied) return upgradePage(denied.decision);
 *   throw error;
 * }
 */
export function limitReachedFrom(error: unknown): LimitReached | undefined {
  if (error instanceof LimitReached) return error;
  const body = (error as { error?: { decision?: Decision } } | undefined)?.error;
  return body?.decision && Array.isArray(body.decision.reasons) ? new LimitReached(body.decision) : undefined;
}
