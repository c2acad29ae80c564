/** The errors of this package. None of them contains a key. */
import type { FieldError, OpenedView, Reason } from "./models.js";
import type { Decision, Fallback, OnLimit } from "./results.js";

/** The fields of a {@link QuotagateError}. */
export interface QuotagateErrorInit {
  /** A code for programs, such as `invalid_request` or `gateway_unavailable`. */
  code: string;
  /** A sentence for people. */
  message: string;
  /** The HTTP status of the answer; without an answer, a status that fits. */
  status: number;
  /** Identifies the call in the gateway's log. */
  requestId?: string | undefined;
  /** The invalid fields of the request. */
  errors?: FieldError[] | undefined;
}

/**
 * The base class of all errors of this package. Applications may throw it, too.
 *
 * @example
 * throw new QuotagateError({ code: "limit_reached", message: "All images used", status: 429 });
 */
export class QuotagateError extends Error {
  /** A code for programs: the gateway's codes, and `gateway_unavailable`, `unexpected_answer`, `invalid_options`. */
  readonly code: string;
  /** The HTTP status of the answer; without an answer, a status that fits. */
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
 * No usable answer arrived before the deadline: the gateway, or a proxy in front of it, is down, unreachable, too slow
 * or overloaded. It is not known whether the call took effect. Repeat it with the same idempotency key, and it counts
 * once.
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
 * The gateway denied the call. There is a subclass for each reason; `code` is the reason.
 *
 * `withReservation`, `streamWithReservation` and `startReservation` throw it, and so does every denied call of a client
 * with `throwOnDeny`. `decision` is the gateway's whole answer.
 *
 * @example
 * try {
 *   await client.withReservation({ userId, event: "image.render" }, render);
 * } catch (error) {
 *   if (error instanceof LimitReached) return `No images left until ${error.resetsAt}`;
 *   if (error instanceof Denied) return `Not allowed: ${error.code}`;
 *   throw error;
 * }
 */
export class Denied extends QuotagateError {
  /** The gateway's decision, with `reasons`, `deniedBy`, `counters` and `retryAfterMs`. */
  readonly decision: Decision;

  constructor(decision: Decision, message = withGroups("The call is denied", decision)) {
    super({ code: decision.reasons[0] ?? "denied", message, status: 429 });
    this.name = "Denied";
    this.decision = decision;
  }

  /** The time after which the call may be allowed, in milliseconds; undefined if that is not known, or never. */
  get retryAfterMs(): number | undefined {
    return this.decision.retryAfterMs ?? undefined;
  }

  /** The first `onLimit` of the groups that denied: `message`, `upgradeUrl`, `fallback`. */
  get onLimit(): OnLimit | undefined {
    return this.decision.deniedBy.find((denied) => denied.onLimit)?.onLimit ?? undefined;
  }

  /** The event to use instead, if the plan names one. */
  get fallback(): Fallback | undefined {
    return this.decision.deniedBy.find((denied) => denied.onLimit?.fallback)?.onLimit?.fallback ?? undefined;
  }
}

/** An operator has blocked the user (`user_blocked`). */
export class UserBlocked extends Denied {
  constructor(decision: Decision) {
    super(decision, "The user is blocked");
    this.name = "UserBlocked";
  }
}

/** The user has no subscription, and the app has no default plan (`no_subscription`). */
export class NotSubscribed extends Denied {
  constructor(decision: Decision) {
    super(decision, "The user has no subscription");
    this.name = "NotSubscribed";
  }
}

/** No limit of the user's plan matches the event (`unmatched_event`): often a misspelt event name. */
export class UnmatchedEvent extends Denied {
  constructor(decision: Decision) {
    super(decision, "No limit of the plan matches the event");
    this.name = "UnmatchedEvent";
  }
}

/** A group covers the event, but none of its match rules does (`uncovered_event`): often a model without a price. */
export class UncoveredEvent extends Denied {
  constructor(decision: Decision) {
    const labels = decision.deniedBy.map((denied) => denied.label).join(", ");
    super(decision, labels ? `No match rule for the event in: ${labels}` : "No match rule for the event");
    this.name = "UncoveredEvent";
  }
}

/** The call has no value for a name in a group's scope (`missing_scope`). */
export class MissingScope extends Denied {
  /** The names, such as `metadata.team`. */
  readonly missing: string[];

  constructor(decision: Decision) {
    const missing = [...new Set(decision.deniedBy.flatMap((denied) => denied.missingScope ?? []))];
    super(decision, `Missing in the call: ${missing.join(", ")}`);
    this.name = "MissingScope";
    this.missing = missing;
  }
}

/** The amount is more than a group allows in one call (`call_too_large`, `maxPerCall`). */
export class CallTooLarge extends Denied {
  constructor(decision: Decision) {
    const groups = decision.deniedBy.map((denied) => `${denied.label} (${denied.requested} requested)`);
    super(decision, `Too large for one call: ${groups.join(", ")}`);
    this.name = "CallTooLarge";
  }
}

/**
 * A limit has no room for the amount (`limit_reached`). It is thrown for no other reason.
 *
 * @example
 * if (error instanceof LimitReached) return new Response("Used up", { status: 429, headers: rateLimitHeaders(error.decision) });
 */
export class LimitReached extends Denied {
  constructor(decision: Decision) {
    super(decision, withGroups("Limit reached", decision));
    this.name = "LimitReached";
  }

  /** When the last of the limits that denied resets (RFC 3339); undefined if one of them never resets. */
  get resetsAt(): string | undefined {
    const times = this.decision.deniedBy.map((denied) => denied.resetsAt ?? undefined);
    if (times.includes(undefined)) return undefined;
    return (times as string[]).sort((one, other) => Date.parse(one) - Date.parse(other)).at(-1);
  }
}

/** The quota is used up, and a person has to approve more (`approval_required`). */
export class ApprovalRequired extends Denied {
  constructor(decision: Decision) {
    super(decision, withGroups("Approval required", decision));
    this.name = "ApprovalRequired";
  }

  /** The approval requests of this denial, with `id` and `status`. */
  get approvals(): OpenedView[] {
    return this.decision.deniedBy.flatMap((denied) => denied.approval ?? []);
  }
}

const BY_REASON: Record<Reason, new (decision: Decision) => Denied> = {
  user_blocked: UserBlocked,
  no_subscription: NotSubscribed,
  unmatched_event: UnmatchedEvent,
  uncovered_event: UncoveredEvent,
  missing_scope: MissingScope,
  call_too_large: CallTooLarge,
  limit_reached: LimitReached,
  approval_required: ApprovalRequired,
};

/** The error for a decision of the gateway that is not `allowed`. */
export function denial(decision: Decision): Denied {
  const reason = decision.reasons[0];
  // A newer gateway may have reasons that this version does not know.
  const known = reason !== undefined && Object.hasOwn(BY_REASON, reason);
  return known ? new BY_REASON[reason as Reason](decision) : new Denied(decision);
}

function withGroups(sentence: string, decision: Decision): string {
  const groups = decision.deniedBy.map((denied) => `${denied.label} (${denied.requested} requested, ${denied.remaining ?? 0} left)`);
  return groups.length > 0 ? `${sentence}: ${groups.join(", ")}` : sentence;
}
