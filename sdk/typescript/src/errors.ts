/** What went wrong, for programs and for people. */
import type { FieldError } from "./models.js";
import type { Decision } from "./results.js";

/** What a {@link QuotagateError} is made from. */
export interface QuotagateErrorInit {
  /** A code that programs can rely on, such as `invalid_request` or `gateway_unavailable`. */
  code: string;
  /** A sentence for people. */
  message: string;
  /** The HTTP status that fits; 503 if no answer came. */
  status: number;
  /** The request's id, to look it up in the gateway's log. */
  requestId?: string | undefined;
  /** Which fields of the request were wrong, and how. */
  errors?: FieldError[] | undefined;
}

/**
 * Every error of this package, and one that applications may throw themselves.
 *
 * @example
 * throw new QuotagateError({ code: "limit_reached", message: "All used", status: 429 });
 */
export class QuotagateError extends Error {
  /** A code that programs can rely on: those of the gateway, and `gateway_unavailable`, `unexpected_answer`. */
  readonly code: string;
  /** The HTTP status of the gateway's answer, or the one that fits. */
  readonly status: number;
  readonly requestId?: string;
  readonly errors: FieldError[];

  constructor(init: QuotagateErrorInit) {
    super(init.message);
    this.name = "QuotagateError";
    this.code = init.code;
    this.status = init.status;
    this.errors = init.errors ?? [];
    if (init.requestId !== undefined) this.requestId = init.requestId;
  }
}

/**
 * No usable answer came within the deadline: the gateway or what lies before it is down, cut, too slow or overloaded.
 * Whether the call took effect is not known; repeating it with its idempotency key counts it once.
 */
export class GatewayUnavailable extends QuotagateError {
  constructor(message: string, options: { status?: number; code?: string; requestId?: string | undefined } = {}) {
    super({
      code: options.code ?? "gateway_unavailable",
      message,
      status: options.status ?? 503,
      requestId: options.requestId,
    });
    this.name = "GatewayUnavailable";
  }
}

/**
 * A denial as an error: thrown by `withReservation` and the streaming variant, and by every call of a client with
 * `throwOnDeny`. It carries the whole decision.
 *
 * @example
 * try {
 *   await client.withReservation({ userId, event: "image.render" }, render);
 * } catch (error) {
 *   if (error instanceof LimitReached) return upgradePage(error.decision.deniedBy[0]?.onLimit);
 *   throw error;
 * }
 */
export class LimitReached extends QuotagateError {
  /** What the gateway decided, with `reasons`, `deniedBy`, `counters` and `retryAfterMs`. */
  readonly decision: Decision;

  constructor(decision: Decision) {
    super({ code: decision.reasons[0] ?? "limit_reached", message: denialText(decision), status: 429 });
    this.name = "LimitReached";
    this.decision = decision;
  }

  /** How long until time lifts the denial, in milliseconds; undefined if it never does. */
  get retryAfterMs(): number | undefined {
    return this.decision.retryAfterMs ?? undefined;
  }
}

function denialText(decision: Decision): string {
  const groups = decision.deniedBy.map(
    (denied) => `${denied.label} (${denied.requested} asked, ${denied.remaining ?? 0} left)`,
  );
  const reason = decision.reasons[0] ?? "limit_reached";
  return groups.length > 0 ? `${reason}: ${groups.join(", ")}` : reason;
}
