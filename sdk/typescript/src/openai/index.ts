/** Metering for the OpenAI client and compatible ones. */
import type { Client } from "../client.js";
import { denial, Denied } from "../errors.js";
import type { Decision } from "../results.js";
import { type FetchLike, meteredFetch, type OpenAIRules } from "./metered-fetch.js";

export { type FetchLike, meteredFetch, type OpenAIRules } from "./metered-fetch.js";
export type { TokenRules } from "../llm/tokens.js";

/** The part of the `openai` client (5 or later) that this module uses. */
export interface OpenAILike {
  withOptions(options: object): unknown;
}

/**
 * The same client for one user: each call reserves an estimate of the prompt tokens and its `max_tokens`, and commits
 * the `usage` of its answer, also for streams. A stream that you stop early is charged for what it produced. Failed
 * attempts release. All methods are metered, also `parse`, `stream` and `runTools`. It is cheap: create one for each
 * request. With `minTokens` it reserves as much as fits, and lowers the call's maximum to that.
 *
 * A denial is the client's own `RateLimitError` (429, not retried); {@link denialFrom} turns it into `Denied`. If the
 * gateway cannot be reached and `onUnavailable` is `deny`, the client throws an `APIError` with status 503.
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
 * The denial in an error of a metered OpenAI client, such as a `LimitReached`; undefined for any other error.
 *
 * @example
 * catch (error) {
 *   const denied = denialFrom(error);
 *   if (denied) return upgradePage(denied.onLimit);
 *   throw error;
 * }
 */
export function denialFrom(error: unknown): Denied | undefined {
  if (error instanceof Denied) return error;
  const body = (error as { error?: { decision?: Decision } } | undefined)?.error;
  return body?.decision && Array.isArray(body.decision.reasons) ? denial(body.decision) : undefined;
}
