/** How long each reservation of this client can still be settled. */

/** How long after its expiry a reservation can still be committed. */
export const GRACE_MS = 15 * 60 * 1000;

/** Above this number, expired entries are removed. */
const MANY = 10_000;

const now = (): number => performance.now();

/**
 * Measured with the clock of this process since the answer, so that clock skew and test clocks do not matter.
 */
export class Lifetimes {
  readonly #ends = new Map<string, number>();

  /** The reservation lives for at least this many seconds from now. */
  lives(reservationId: string, ttlSeconds: number): void {
    const end = now() + ttlSeconds * 1000;
    if (end <= (this.#ends.get(reservationId) ?? 0)) return;
    this.#ends.set(reservationId, end);
    if (this.#ends.size > MANY) this.#removeExpired();
  }

  /** The reservation is settled. */
  forget(reservationId: string): void {
    this.#ends.delete(reservationId);
  }

  /** The remaining time of a hold; undefined for a reservation of another client. */
  holdMs(reservationId: string): number | undefined {
    const end = this.#ends.get(reservationId);
    return end === undefined ? undefined : Math.max(0, end - now());
  }

  /** The time left for a commit; at least 15 minutes for a reservation of another client. */
  settleMs(reservationId: string): number {
    const end = this.#ends.get(reservationId);
    return end === undefined ? GRACE_MS : Math.max(0, end + GRACE_MS - now());
  }

  #removeExpired(): void {
    for (const [id, end] of this.#ends) if (end + GRACE_MS < now()) this.#ends.delete(id);
  }
}
