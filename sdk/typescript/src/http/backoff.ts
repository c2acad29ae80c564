/** How long to wait before the next attempt. */

/** The first wait is at most this long, in milliseconds. */
const BASE_MS = 100;
/** No wait is longer, unless the gateway asks for it. */
const CAP_MS = 2_000;

/** Exponential with full jitter: callers that failed together do not come back together. */
export function backoffMs(attempt: number, random: () => number = Math.random, capMs = CAP_MS): number {
  return Math.floor(random() * Math.min(capMs, BASE_MS * 2 ** Math.min(attempt, 30)));
}

/** `Retry-After` in milliseconds: seconds, or an HTTP date. */
export function retryAfterMs(value: string | null, now: number = Date.now()): number | undefined {
  if (value === null) return undefined;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
