/** The wait before the next attempt. */

/** The upper limit of the first wait, in milliseconds. */
const BASE_MS = 100;
/** The upper limit of later waits, unless the gateway requests a longer one. */
const CAP_MS = 2_000;

/** Exponential with full jitter, so that callers that failed together do not retry together. */
export function backoffMs(attempt: number, random: () => number = Math.random, capMs = CAP_MS): number {
  return Math.floor(random() * Math.min(capMs, BASE_MS * 2 ** Math.min(attempt, 30)));
}

/** `Retry-After` (seconds or an HTTP date) in milliseconds. */
export function retryAfterMs(value: string | null, now: number = Date.now()): number | undefined {
  if (value === null) return undefined;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
