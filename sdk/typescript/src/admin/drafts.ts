/** Explanations of decisions, and replays under a draft. */
import type { CallOptions } from "../call-options.js";
import type { ExplainDraftBody, ExplainedDraftView, ExplanationView, RecentWhatif, WhatifBody } from "../models.js";
import { metadataQuery, Resource } from "./resource.js";

/** A call to explain. */
export interface ExplainRequest {
  userId: string;
  event: string;
  /** Default 1. */
  quantity?: number | string;
  metadata?: Record<string, string>;
  /** The id of the key that sends the call. */
  key?: string;
}

/** Explanations. They write nothing. */
export class Explain extends Resource {
  /**
   * Whether this call would be allowed now, with the decision of each group.
   *
   * @throws QuotagateError `invalid_request` (400)
   *
   * @example
   * const { call } = await client.admin.explain.call({ userId: "u_42", event: "image.render" });
   */
  call(request: ExplainRequest, options: CallOptions = {}): Promise<ExplanationView> {
    const { metadata, ...rest } = request;
    return this.read([], { ...rest, ...metadataQuery(metadata) }, options);
  }

  /**
   * The history of a reservation.
   *
   * @throws QuotagateError `not_found` (404), `reservation_expired` (410: the reservation is too old)
   *
   * @example
   * const { reservation } = await client.admin.explain.reservation("rsv_…");
   */
  reservation(reservationId: string, options: CallOptions = {}): Promise<ExplanationView> {
    return this.read([], { reservationId }, options);
  }

  /**
   * Which groups of a draft match a call, and why the others do not.
   *
   * @param body `plan` or `policy` with its `id`, `event`, `metadata`
   * @throws QuotagateError `invalid_request` (400) naming each faulty field
   *
   * @example
   * const { groups } = await client.admin.explain.draft({ plan: { id: "pro", groups }, event: "image.render" });
   */
  draft(body: ExplainDraftBody, options: CallOptions = {}): Promise<ExplainedDraftView> {
    return this.write("POST", [], body, options);
  }
}

/** Replays of recorded calls under a draft. */
export class Whatif extends Resource {
  /**
   * Replays the newest recorded calls under a draft of one plan or policy: which calls it would have denied or allowed,
   * and their cost.
   *
   * @param body `plan` or `policy` with its `id`; `usersOf`: replay with the users of this plan; `entries` 100 to 50,000
   * @throws QuotagateError `invalid_request` (400), `too_many_whatifs` (429)
   *
   * @example
   * const { newlyDenied } = await client.admin.whatif.replay({ plan: { id: "pro", groups } });
   */
  replay(body: WhatifBody, options: CallOptions = {}): Promise<RecentWhatif> {
    return this.write("POST", [], body, options);
  }
}
