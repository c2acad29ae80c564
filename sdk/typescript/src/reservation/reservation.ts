/** A reservation while your function runs. */
import type { Fit } from "../call-options.js";
import type { Metering } from "../metering.js";
import { denial, GatewayUnavailable, QuotagateError } from "../errors.js";
import { newIdempotencyKey } from "../http/idempotency.js";
import type { CommitBody, Outcome } from "../models.js";
import type { Decision, Fitted, Metadata, Quantity, Settlement } from "../results.js";
import { Heartbeat } from "./heartbeat.js";
import { type Figures, ReportedUsage } from "./reported-usage.js";

/** The options of a reservation. */
export interface ReservationRequest {
  /** 1 to 256 bytes. */
  userId: string;
  /** 1 to 128 bytes, such as `llm.tokens`. */
  event: string;
  /** In the unit; default 1. */
  quantity?: Quantity;
  metadata?: Metadata;
  /** Hold as much of one figure as fits: `fitted` of the reservation has the value. */
  fit?: Fit;
  /** Seconds: 1 to 3,600, default 60. The client extends the hold while the work runs. */
  ttlSeconds?: number;
  /** Cancels the work: the client releases the hold and rejects with the signal's reason. */
  signal?: AbortSignal;
  /** If the work fails: `release` (default) charges nothing, `commit` charges what was reported until then. */
  onError?: "release" | "commit";
}

/** What reservations need of the client. */
export interface Gate {
  client: Metering;
  /** Reserves; throws GatewayUnavailable without an answer. */
  requestDecision: (body: { userId: string; event: string; quantity?: Quantity; metadata?: Metadata; fit?: Fit }, options: { ttlSeconds?: number; signal?: AbortSignal }) => Promise<Decision>;
  /** Receives a commit that the gateway refused. */
  refused: (body: CommitBody, idempotencyKey: string, error: QuotagateError) => Promise<void>;
}

const DEFAULT_TTL_SECONDS = 60;
/** The gateway accepts at most 256 bytes; names of errors are far shorter. */
const LONGEST_REASON = 64;

/** The argument of your function in `withReservation`: report usage here. */
export class Reservation {
  /** Undefined if nothing is held: the event is unmetered, or the decision degraded. */
  readonly reservationId: string | undefined;
  /** The gateway could not be reached, and `onUnavailable` is `allow`. */
  readonly degraded: boolean;
  /** Aborts when the caller cancels; pass it to your provider. */
  readonly signal: AbortSignal;
  readonly #usage = new ReportedUsage();
  #tags: Metadata = {};
  #outcome: Outcome | undefined;
  #drawn = false;
  #waived = false;

  /** @internal */
  constructor(
    readonly request: Readonly<ReservationRequest>,
    /** The gateway's decision; undefined if it could not be reached. */
    readonly decision: Decision | undefined,
    private readonly gate: Gate,
  ) {
    this.reservationId = decision?.reservationId ?? undefined;
    this.degraded = decision?.degraded ?? decision === undefined;
    this.signal = request.signal ?? new AbortController().signal;
  }

  /**
   * With `fit`: the value that was held. Undefined if the gateway could not be reached.
   *
   * @example
   * const max_tokens = r.fitted?.completion_tokens ?? 256;
   */
  get fitted(): Fitted | undefined {
    return this.decision?.fitted;
  }

  /**
   * Reports actual usage: a quantity, or figures by name. Several reports add up.
   *
   * @throws RangeError a figure that is negative or no number
   *
   * @example
   * r.use(812);
   * r.use({ prompt_tokens: 200, completion_tokens: 612 });
   */
  use(used: number | Figures): this {
    this.#usage.add(used);
    return this;
  }

  /**
   * Reports the total usage since the last draw. Replaces earlier reports.
   *
   * @throws RangeError a figure that is negative or no number
   *
   * @example
   * r.total({ quantity: usage.total_tokens, completion_tokens: usage.completion_tokens });
   */
  total(used: number | Figures): this {
    this.#usage.set(used);
    return this;
  }

  /**
   * Adds metadata to the commit, such as the provider that answered.
   *
   * @example
   * r.tag({ provider: "b", fallback: "true" });
   */
  tag(metadata: Metadata): this {
    this.#tags = { ...this.#tags, ...metadata };
    return this;
  }

  /**
   * Sets whether the end user accepted the result.
   *
   * @example
   * r.outcome("rejected");
   */
  outcome(outcome: Outcome): this {
    this.#outcome = outcome;
    return this;
  }

  /**
   * Charges the usage since the last draw now and keeps the rest of the hold. At the end the client releases the rest.
   *
   * @param used reported first
   *
   * @example
   * for (const step of plan) await r.draw((await run(step)).tokens);
   */
  async draw(used?: number | Figures): Promise<Settlement | undefined> {
    if (used !== undefined) this.use(used);
    if (this.reservationId === undefined || this.#usage.empty) return undefined;
    const options = this.#actual();
    this.#usage.clear();
    this.#drawn = true;
    return this.gate.client.commit(this.reservationId, { ...options, final: false });
  }

  /**
   * Charges nothing at the end, although the work succeeds. Earlier draws stay charged.
   *
   * @example
   * if (answer.cached) r.waive();
   */
  waive(): this {
    this.#waived = true;
    return this;
  }

  /** True if any usage was reported. */
  get hasUsed(): boolean {
    return this.#drawn || this.#usage.positive;
  }

  #actual() {
    const { quantity, metadata: figures } = this.#usage.figures;
    const metadata = { ...this.#tags, ...figures };
    return {
      ...(quantity !== undefined && { quantity }),
      ...(Object.keys(metadata).length > 0 && { metadata }),
      ...(this.#outcome !== undefined && { outcome: this.#outcome }),
    };
  }

  /** @internal Charges the reported usage, or the held amounts without a report. */
  async settle(): Promise<void> {
    if (this.#waived) return this.release("waived");
    const actual = this.#actual();
    if (this.reservationId === undefined) {
      if (this.decision === undefined) await this.#track(actual);
      return;
    }
    // After draws, a commit without figures would charge the whole rest.
    if (this.#drawn && this.#usage.empty) return this.release("rest");
    const idempotencyKey = newIdempotencyKey();
    try {
      await this.gate.client.commit(this.reservationId, { ...actual, idempotencyKey });
    } catch (error) {
      // The work has a result, which the caller must not lose because of a refused commit.
      if (!(error instanceof QuotagateError)) throw error;
      await this.gate.refused({ reservationId: this.reservationId, ...actual }, idempotencyKey, error);
    }
  }

  /** Counts usage without a reservation when the gateway can be reached again. */
  async #track(actual: { quantity?: number; metadata?: Metadata }): Promise<void> {
    const { userId, event, quantity, metadata } = this.request;
    await this.gate.client.track(userId, event, actual.quantity ?? quantity, { ...metadata, ...actual.metadata }, { keep: true });
  }

  /** @internal Charges nothing more. */
  async release(reason: string): Promise<void> {
    if (this.reservationId === undefined) return;
    // If this fails, the hold expires. The caller gets the error of the work, not this one.
    await this.gate.client.release(this.reservationId, { reason }).catch(() => {});
  }

  /** @internal The work failed. */
  async abandon(error: unknown): Promise<void> {
    if (this.request.onError === "commit" && this.hasUsed) return this.settle();
    const name = error instanceof Error ? error.name : "error";
    return this.release(name.replace(/[^\w.-]/g, "_").slice(0, LONGEST_REASON));
  }

  /** @internal Extends the hold while `wanted`. */
  heartbeat(wanted?: () => boolean): Heartbeat | undefined {
    const { reservationId } = this;
    if (reservationId === undefined) return undefined;
    const ttlSeconds = this.request.ttlSeconds ?? DEFAULT_TTL_SECONDS;
    return new Heartbeat(() => this.gate.client.extend(reservationId, { ttlSeconds }), ttlSeconds, wanted);
  }
}

/** Reserves. Throws Denied, and GatewayUnavailable unless `onUnavailable` is `allow`. */
export async function open(gate: Gate, request: ReservationRequest): Promise<Reservation> {
  const { userId, event, quantity, metadata, fit, ttlSeconds, signal } = request;
  const body = { userId, event, ...(quantity !== undefined && { quantity }), ...(metadata && { metadata }), ...(fit && { fit }) };
  const options = { ...(ttlSeconds !== undefined && { ttlSeconds }), ...(signal && { signal }) };
  let decision: Decision;
  try {
    decision = await gate.requestDecision(body, options);
  } catch (error) {
    if (!(error instanceof GatewayUnavailable) || gate.client.onUnavailable === "deny") throw error;
    return new Reservation(request, undefined, gate);
  }
  if (!decision.allowed) throw denial(decision);
  return new Reservation(request, decision, gate);
}
