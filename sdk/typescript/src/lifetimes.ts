/** How long each reservation may still be settled, as far as this client knows. */

/** After its expiry a reservation can be committed for this long. */
export const GRACE_MS = 15 * 60 * 1000;

/** Beyond this many, what has ended is forgotten. */
const MANY = 10_000;

const now = (): number => performance.now();

/**
 * Counted in this process' own time from when the answer came, so that neither a skewed clock nor a test clock
 * matters.
 */
export class Lifetimes {
  readonly #ends = new Map<string, number>();

  /** The reservation lives for so many seconds from now, at least. */
  lives(reservationId: string, ttlSeconds: number): void {
    const end = now() + ttlSeconds * 1000;
    if (end <= (this.#ends.get(reservationId) ?? 0)) return;
    this.#ends.set(reservationId, end);
    if (this.#ends.size > MANY) this.#forgetEnded();
  }

  /** It is settled. */
  forget(reservationId: string): void {
    this.#ends.delete(reservationId);
  }

  /** How long a hold lasts yet; undefined if it is not known. */
  holdMs(reservationId: string): number | undefined {
    const end = this.#ends.get(reservationId);
    return end === undefined ? undefined : Math.max(0, end - now());
  }

  /** How long a commit may still arrive. A reservation made elsewhere has its grace at least. */
  settleMs(reservationId: string): number {
    const end = this.#ends.get(reservationId);
    return end === undefined ? GRACE_MS : Math.max(0, end + GRACE_MS - now());
  }

  #forgetEnded(): void {
    for (const [id, end] of this.#ends) if (end + GRACE_MS < now()) this.#ends.delete(id);
  }
}
