/** What middleware reserves for a request, and what it answers when it may not. */
import { GatewayUnavailable, LimitReached, type QuotagateError } from "../errors.js";
import { rateLimitHeaders } from "../rate-limit-headers.js";
import type { ReservationRequest } from "../reservation/reservation.js";
import type { Metadata, Quantity } from "../results.js";

type MaybePromise<T> = T | PromiseLike<T>;

/** A value, or how to find it in a request. */
export type Of<Req, T> = T | ((request: Req) => MaybePromise<T>);

/** What a request costs, and whom. */
export interface QuotaRules<Req> {
  /** Who pays: 1 to 256 bytes. */
  userId: (request: Req) => MaybePromise<string>;
  /** Such as `image.render`. */
  event: Of<Req, string>;
  /** Default 1. */
  quantity?: Of<Req, Quantity | undefined>;
  metadata?: Of<Req, Metadata | undefined>;
  /** Seconds: 1 to 3,600, default 60; extended while the request is served. */
  ttlSeconds?: number;
  /** Is an answer of this status charged? Default: below 400. */
  charge?: (status: number) => boolean;
}

async function valueOf<Req, T>(value: Of<Req, T>, request: Req): Promise<T> {
  return typeof value === "function" ? (value as (request: Req) => MaybePromise<T>)(request) : value;
}

/** What to reserve for a request. */
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

/** Is this answer charged? */
export function isCharged<Req>(rules: QuotaRules<Req>, status: number): boolean {
  return rules.charge ? rules.charge(status) : status < 400;
}

/** An answer to an end user. */
export interface Refusal {
  status: number;
  headers: Record<string, string>;
  body: Record<string, unknown>;
}

/** The answer for an error that middleware deals with; undefined for any other. */
export function refusalFor(error: unknown): Refusal | undefined {
  if (error instanceof LimitReached) {
    const { decision } = error;
    const onLimit = decision.deniedBy.find((denied) => denied.onLimit)?.onLimit;
    const message = typeof onLimit?.message === "string" ? onLimit.message : "The quota does not allow this request.";
    const body = { ...problem(error, 429, message), ...(onLimit && { onLimit }), retryAfterMs: decision.retryAfterMs ?? null };
    return { status: 429, headers: { ...PROBLEM, ...rateLimitHeaders(decision) }, body };
  }
  if (error instanceof GatewayUnavailable) {
    return { status: 503, headers: { ...PROBLEM, "Retry-After": "1" }, body: problem(error, 503, "The quota cannot be checked right now.") };
  }
  return undefined;
}

const PROBLEM = { "Content-Type": "application/problem+json" };

function problem(error: QuotagateError, status: number, detail: string): Record<string, unknown> {
  return { type: `https://quotagate.dev/problems/${error.code}`, title: "Request refused", status, code: error.code, detail };
}
