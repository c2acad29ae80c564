/** Rate limit headers for the answers of the application. */
import type { CounterView } from "./models.js";
import type { Decision, Tracked } from "./results.js";

/** A counter with a quota. */
interface Limited {
  id: string;
  quota: number;
  /** With what its balance has. */
  remaining: number;
  windowSeconds: number | undefined;
  resetsInSeconds: number | undefined;
  resetsAt: number | undefined;
}

/** In place of a quota of 0 when shares are compared; less than any unit's smallest amount. */
const SMALLEST = 1e-9;

const secondsUp = (ms: number): number => Math.ceil(Math.max(0, ms) / 1000);

/** The balance of a counter, if the call needed it. */
function balanceOf(counter: CounterView, all: CounterView[]): CounterView | undefined {
  const scope = JSON.stringify(counter.scope);
  return all.find((other) => other.groupId === counter.overflow && JSON.stringify(other.scope) === scope);
}

function limited(counter: CounterView, all: CounterView[], nowMs: number): Limited | undefined {
  if (typeof counter.quota !== "number" || typeof counter.remaining !== "number") return undefined;
  const balance = counter.overflow ? balanceOf(counter, all) : undefined;
  // What a balance has is not known if the call did not need it.
  if (counter.overflow && !balance && counter.remaining < 1) return undefined;
  const end = counter.resetsAt ? Date.parse(counter.resetsAt) : undefined;
  const start = counter.period ? Date.parse(counter.period.start) : undefined;
  return {
    id: counter.groupId,
    quota: counter.quota + counter.granted + (counter.rolled ?? 0),
    remaining: counter.remaining + (balance?.remaining ?? 0),
    windowSeconds: end !== undefined && start !== undefined ? secondsUp(end - start) : undefined,
    resetsInSeconds: end === undefined ? undefined : secondsUp(end - nowMs),
    resetsAt: end === undefined ? undefined : secondsUp(end),
  };
}

/** Tightest first, with what balances add. */
const byShare = (one: Limited, other: Limited): number =>
  one.remaining * (other.quota || SMALLEST) - other.remaining * (one.quota || SMALLEST);

/**
 * `RateLimit-Policy` and `RateLimit` for the matched groups, `X-RateLimit-Limit`, `-Remaining` and `-Reset` (epoch
 * seconds) for the tightest, and `Retry-After` (seconds) on a denial that ends by itself. What remains includes the
 * balance onto which a group overflows. A group without quota left is not in them if the call did not need its balance.
 *
 * @param answer of `reserve`, `extend` or `track`, or the `decision` of a `Denied`
 * @param now in milliseconds since 1970; only needed with a test clock
 *
 * @example
 * const r = await client.reserve(userId, "image.render");
 * if (!r.allowed) return new Response("All used", { status: 429, headers: rateLimitHeaders(r) });
 */
export function rateLimitHeaders(answer: Pick<Decision, "counters"> & Partial<Decision & Tracked>, now: number = Date.now()): Record<string, string> {
  const { counters } = answer;
  const all = counters.map((counter) => limited(counter, counters, now)).filter((one) => one !== undefined);
  // The counters are sorted already: those that denied the call first, then the tightest.
  if (answer.allowed !== false && counters.some((counter) => counter.overflow)) all.sort(byShare);
  const [tightest] = all;
  const headers: Record<string, string> = {};
  if (tightest) {
    const part = (letter: string, value: number | undefined) => (value === undefined ? "" : `;${letter}=${value}`);
    headers["RateLimit-Policy"] = all.map((one) => `"${one.id}";q=${Math.floor(one.quota)}${part("w", one.windowSeconds)}`).join(", ");
    headers.RateLimit = all.map((one) => `"${one.id}";r=${Math.floor(one.remaining)}${part("t", one.resetsInSeconds)}`).join(", ");
    headers["X-RateLimit-Limit"] = String(Math.floor(tightest.quota));
    headers["X-RateLimit-Remaining"] = String(Math.floor(tightest.remaining));
    if (tightest.resetsAt !== undefined) headers["X-RateLimit-Reset"] = String(tightest.resetsAt);
  }
  if (answer.allowed === false && answer.retryAfterMs != null) headers["Retry-After"] = String(secondsUp(answer.retryAfterMs));
  return headers;
}
