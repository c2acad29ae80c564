/** What middleware reserves for a request, and how it answers a denial. */
import { Denied, GatewayUnavailable } from "../errors.js";
import { rateLimitHeaders } from "../rate-limit-headers.js";
import type { ReservationRequest } from "../reservation/reservation.js";
import type { Metadata, Quantity } from "../results.js";

type MaybePromise<T> = T | PromiseLike<T>;

/** A value, or a function of the request. */
export type Of<Req, T> = T | ((request: Req) => MaybePromise<T>);

/** The user, event and amount of a request. */
export interface QuotaRules<Req> {
  /** The user's id: 1 to 256 bytes. */
  userId: (request: Req) => MaybePromise<string>;
  /** Such as `image.render`. */
  event: Of<Req, string>;
  /** Default 1. */
  quantity?: Of<Req, Quantity | undefined>;
  metadata?: Of<Req, Metadata | undefined>;
  /** Seconds: 1 to 3,600, default 60. The client extends the hold while the request is served. */
  ttlSeconds?: number;
  /** Returns true if an answer of this status is charged. Default: below 400. */
  charge?: (status: number) => boolean;
}

async function valueOf<Req, T>(value: Of<Req, T>, request: Req): Promise<T> {
  return typeof value === "function" ? (value as (request: Req) => MaybePromise<T>)(request) : value;
}

/** The reservation for a request. */
export async function reservationFor<Req>(rules: QuotaRules<Req>, request: Req, signal?: AbortSignal): Promise<ReservationRequest> {
  const quantity = await valueOf(rules.quantity, request);
  const metadata = await valueOf(rules.metadata, request);
  return {
    userId: await rules.userId(request),
    event: await valueOf(rules.event, request),
    ...(quantity !== undefined && { quantity }),
    ...(metadata !== undefined && { metadata }),
    ...(rules.ttlSeconds !== undefined && { ttlSeconds: rules.ttlSeconds }),
    ...(signal && { signal }),
    onError: "release",
  };
}

/** True if this answer is charged. */
export function isCharged<Req>(rules: QuotaRules<Req>, status: number): boolean {
  return rules.charge ? rules.charge(status) : status < 400;
}

/** An answer to an end user. */
export interface Refusal {
  status: number;
  headers: Record<string, string>;
  body: Record<string, unknown>;
}

/** The answer to a denial or an unreachable gateway; undefined for any other error. */
export function refusalFor(error: unknown): Refusal | undefined {
  if (error instanceof Denied) {
    const { decision, onLimit } = error;
    const detail = onLimit?.message ?? error.message;
    const body = { ...problem(error.code, 429, detail), ...(onLimit && { onLimit }), retryAfterMs: decision.retryAfterMs ?? null };
    return { status: 429, headers: { ...PROBLEM, ...rateLimitHeaders(decision) }, body };
  }
  if (error instanceof GatewayUnavailable) {
    // What exactly failed between here and the gateway does not concern end users.
    const body = problem("gateway_unavailable", 503, "The quota cannot be checked right now");
    return { status: 503, headers: { ...PROBLEM, "Retry-After": "1" }, body };
  }
  return undefined;
}

const PROBLEM = { "Content-Type": "application/problem+json" };

function problem(code: string, status: number, detail: string): Record<string, unknown> {
  return { type: `https://quotagate.dev/problems/${code}`, title: "The call is denied", status, code, detail };
}
