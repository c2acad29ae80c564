/** A reservation while it is worked under. */
import type { Metering } from "../metering.js";
import { GatewayUnavailable, LimitReached, QuotagateError } from "../errors.js";
import { newIdempotencyKey } from "../http/idempotency.js";
import type { CommitBody, Outcome } from "../models.js";
import type { Decision, Metadata, Quantity, Settlement } from "../results.js";
import { Heartbeat } from "./heartbeat.js";
import { type Figures, Tally } from "./tally.js";

/** What to reserve, and how to settle. */
export interface ReservationRequest {
  /** 1 to 256 bytes. */
  userId: string;
  /** 1 to 128 bytes, such as `llm.tokens`. */
  event: string;
  /** In the unit; default 1. */
  quantity?: Quantity;
  metadata?: Metadata;
  /** Seconds: 1 to 3,600, default 60. Longer work is no fault: the hold is extended while it runs. */
  ttlSeconds?: number;
  /** Cancels: releases the hold and rejects with the signal's reason. */
  signal?: AbortSignal;
  /** When the work fails: `release` (default) charges nothing, `commit` charges what was reported by then. */
  onError?: "release" | "commit";
}

/** How reservations reach the gateway. */
export interface Gate {
  client: Metering;
  /** A reserve that throws when there is no answer. */
  ask: (body: { userId: string; event: string; quantity?: Quantity; metadata?: Metadata }, options: { ttlSeconds?: number; signal?: AbortSignal }) => Promise<Decision>;
  /** Takes what the gateway refused to count after it was spent. */
  refused: (body: CommitBody, idempotencyKey: string, error: QuotagateError) => Promise<void>;
}

const DEFAULT_TTL_SECONDS = 60;
/** The gateway takes a reason of at most 256 bytes; names of errors are far shorter. */
const LONGEST_REASON = 64;

/** What your function gets from `withReservation`: report here what was used. */
export class Reservation {
  /** Undefined if nothing is held: unmetered, or degraded. */
  readonly reservationId: string | undefined;
  /** The gateway could not be asked, and `onUnavailable` says `allow`. */
  readonly degraded: boolean;
  /** Aborts when the caller cancels; pass it on to your provider. */
  readonly signal: AbortSignal;
  readonly #tally = new Tally();
  #tags: Metadata = {};
  #outcome: Outcome | undefined;
  #drawn = false;
  #waived = false;

  /** @internal */
  constructor(
    readonly request: Readonly<ReservationRequest>,
    /** What the gateway decided; undefined if it could not be asked. */
    readonly decision: Decision | undefined,
    private readonly gate: Gate,
  ) {
    this.reservationId = decision?.reservationId ?? undefined;
    this.degraded = decision?.degraded ?? decision === undefined;
    this.signal = request.signal ?? new AbortController().signal;
  }

  /**
   * Reports what was used: a quantity, or figures by name. Calls add up.
   *
   * @throws RangeError a figure that is negative or no number
   *
   * @example
   * r.use(812);
   * r.use({ prompt_tokens: 200, completion_tokens: 612 });
   */
  use(used: number | Figures): this {
    this.#tally.add(used);
    return this;
  }

  /**
   * Reports what was used in all, in place of what was added so far (since the last draw).
   *
   * @throws RangeError a figure that is negative or no number
   *
   * @example
   * r.total({ quantity: usage.total_tokens, completion_tokens: usage.completion_tokens });
   */
  total(used: number | Figures): this {
    this.#tally.set(used);
    return this;
  }

  /**
   * States facts about the event, such as which provider it came to; they go with the commit.
   *
   * @example
   * r.tag({ provider: "b", fallback: "true" });
   */
  tag(metadata: Metadata): this {
    this.#tags = { ...this.#tags, ...metadata };
    return this;
  }

  /**
   * States whether the result was worth something to the end user.
   *
   * @example
   * r.outcome("rejected");
   */
  outcome(outcome: Outcome): this {
    this.#outcome = outcome;
    return this;
  }

  /**
   * Charges now what was used since the last draw, and keeps the rest of the hold. What is left at the end is given
   * back.
   *
   * @param used is reported first, if given
   *
   * @example
   * for (const step of plan) await r.draw((await run(step)).tokens);
   */
  async draw(used?: number | Figures): Promise<Settlement | undefined> {
    if (used !== undefined) this.use(used);
    if (this.reservationId === undefined || this.#tally.empty) return undefined;
    const options = this.#actual();
    this.#tally.clear();
    this.#drawn = true;
    return this.gate.client.commit(this.reservationId, { ...options, final: false });
  }

  /**
   * Charges nothing at the end, although the work does not fail; what was drawn stays charged.
   *
   * @example
   * if (answer.cached) r.waive();
   */
  waive(): this {
    this.#waived = true;
    return this;
  }

  /** Was anything reported as used? */
  get hasUsed(): boolean {
    return this.#drawn || this.#tally.positive;
  }

  #actual() {
    const { quantity, metadata: figures } = this.#tally.figures;
    const metadata = { ...this.#tags, ...figures };
    return {
      ...(quantity !== undefined && { quantity }),
      ...(Object.keys(metadata).length > 0 && { metadata }),
      ...(this.#outcome !== undefined && { outcome: this.#outcome }),
    };
  }

  /** @internal Charges what was reported; without a report, what was held. */
  async settle(): Promise<void> {
    if (this.#waived) return this.giveBack("waived");
    const actual = this.#actual();
    if (this.reservationId === undefined) {
      if (this.decision === undefined) await this.#track(actual);
      return;
    }
    // After draws a commit without figures would charge the whole rest.
    if (this.#drawn && this.#tally.empty) return this.giveBack("rest");
    const idempotencyKey = newIdempotencyKey();
    try {
      await this.gate.client.commit(this.reservationId, { ...actual, idempotencyKey });
    } catch (error) {
      // What was spent has brought a result, and a refused commit is no reason to lose that.
      if (!(error instanceof QuotagateError)) throw error;
      await this.gate.refused({ reservationId: this.reservationId, ...actual }, idempotencyKey, error);
    }
  }

  /** Spent while the gateway was away: counted when it is back. */
  async #track(actual: { quantity?: number; metadata?: Metadata }): Promise<void> {
    const { userId, event, quantity, metadata } = this.request;
    await this.gate.client.track(userId, event, actual.quantity ?? quantity, { ...metadata, ...actual.metadata }, { keep: true });
  }

  /** @internal Charges nothing more. */
  async giveBack(reason: string): Promise<void> {
    if (this.reservationId === undefined) return;
    // The hold ends by itself if even this fails; the caller has an error of its own to tell.
    await this.gate.client.release(this.reservationId, { reason }).catch(() => {});
  }

  /** @internal The work failed. */
  async abandon(error: unknown): Promise<void> {
    if (this.request.onError === "commit" && this.hasUsed) return this.settle();
    const name = error instanceof Error ? error.name : "error";
    return this.giveBack(name.replace(/[^\w.-]/g, "_").slice(0, LONGEST_REASON));
  }

  /** @internal Extends the hold while `wanted`. */
  heartbeat(wanted?: () => boolean): Heartbeat | undefined {
    const { reservationId } = this;
    if (reservationId === undefined) return undefined;
    const ttlSeconds = this.request.ttlSeconds ?? DEFAULT_TTL_SECONDS;
    return new Heartbeat(() => this.gate.client.extend(reservationId, { ttlSeconds }), ttlSeconds, wanted);
  }
}

/** Reserves. Throws LimitReached, and GatewayUnavailable unless the client goes on without the gateway. */
export async function open(gate: Gate, request: ReservationRequest): Promise<Reservation> {
  const { userId, event, quantity, metadata, ttlSeconds, signal } = request;
  const body = { userId, event, ...(quantity !== undefined && { quantity }), ...(metadata && { metadata }) };
  const options = { ...(ttlSeconds !== undefined && { ttlSeconds }), ...(signal && { signal }) };
  let decision: Decision;
  try {
    decision = await gate.ask(body, options);
  } catch (error) {
    if (!(error instanceof GatewayUnavailable) || gate.client.onUnavailable === "deny") throw error;
    return new Reservation(request, undefined, gate);
  }
  if (!decision.allowed) throw new LimitReached(decision);
  return new Reservation(request, decision, gate);
}
