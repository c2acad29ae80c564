/** Rate limit headers for the answers of the application. */
import type { CounterView } from "./models.js";
import type { Decision, Tracked } from "./results.js";

/** A counter with a quota, in whole units: headers take integers. */
interface Limited {
  id: string;
  quota: number;
  remaining: number;
  windowSeconds: number | undefined;
  resetsInSeconds: number | undefined;
  resetsAt: number | undefined;
}

const secondsUp = (ms: number): number => Math.ceil(Math.max(0, ms) / 1000);

function limited(counter: CounterView, nowMs: number): Limited | undefined {
  if (typeof counter.quota !== "number" || typeof counter.remaining !== "number") return undefined;
  const end = counter.resetsAt ? Date.parse(counter.resetsAt) : undefined;
  const start = counter.period ? Date.parse(counter.period.start) : undefined;
  return {
    id: counter.groupId,
    quota: Math.floor(counter.quota + counter.granted + (counter.rolled ?? 0)),
    remaining: Math.floor(counter.remaining),
    windowSeconds: end !== undefined && start !== undefined ? secondsUp(end - start) : undefined,
    resetsInSeconds: end === undefined ? undefined : secondsUp(end - nowMs),
    resetsAt: end === undefined ? undefined : secondsUp(end),
  };
}

/**
 * `RateLimit-Policy` and `RateLimit` for the matched groups, `X-RateLimit-Limit`, `-Remaining` and `-Reset` (epoch
 * seconds) for the tightest, and `Retry-After` (seconds) on a denial that ends by itself.
 *
 * @param answer of `reserve`, `extend` or `track`, or the `decision` of a `Denied`
 * @param now in milliseconds since 1970; only needed with a test clock
 *
 * @example
 * const r = await client.reserve(userId, "image.render");
 * if (!r.allowed) return new Response("All used", { status: 429, headers: rateLimitHeaders(r) });
 */
export function rateLimitHeaders(answer: Pick<Decision, "counters"> & Partial<Decision & Tracked>, now: number = Date.now()): Record<string, string> {
  const all = answer.counters.map((counter) => limited(counter, now)).filter((one) => one !== undefined);
  const [tightest] = all;
  const headers: Record<string, string> = {};
  if (tightest) {
    const part = (letter: string, value: number | undefined) => (value === undefined ? "" : `;${letter}=${value}`);
    headers["RateLimit-Policy"] = all.map((one) => `"${one.id}";q=${one.quota}${part("w", one.windowSeconds)}`).join(", ");
    headers.RateLimit = all.map((one) => `"${one.id}";r=${one.remaining}${part("t", one.resetsInSeconds)}`).join(", ");
    headers["X-RateLimit-Limit"] = String(tightest.quota);
    headers["X-RateLimit-Remaining"] = String(tightest.remaining);
    if (tightest.resetsAt !== undefined) headers["X-RateLimit-Reset"] = String(tightest.resetsAt);
  }
  if (answer.allowed === false && answer.retryAfterMs != null) headers["Retry-After"] = String(secondsUp(answer.retryAfterMs));
  return headers;
}
