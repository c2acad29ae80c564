/** Why a call is decided as it is, and what a draft would make of it. */
import type { CallOptions } from "../call-options.js";
import type { ExplainDraftBody, ExplainedDraftView, ExplanationView, RecentWhatif, WhatifBody } from "../models.js";
import { metadataQuery, Resource } from "./resource.js";

/** A call that is asked about. */
export interface ExplainRequest {
  userId: string;
  event: string;
  /** Default 1. */
  quantity?: number | string;
  metadata?: Record<string, string>;
  /** The id of the key it would come with. */
  key?: string;
}

/** Explanations; nothing is written. */
export class Explain extends Resource {
  /**
   * Whether such a call would be allowed now, and what each group makes of it.
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
   * What became of a reservation.
   *
   * @throws QuotagateError `not_found` (404), `reservation_expired` (410: nothing is kept of it any more)
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

/** Drafts tried on what was recorded. */
export class Whatif extends Resource {
  /**
   * Replays the newest recorded calls under a draft of one plan or policy: who would have been denied or let pass, and
   * what it would have cost. A node tries two drafts at a time.
   *
   * @param body `plan` or `policy` with its `id`; `usersOf`: as if the users of that plan were on it; `entries` 100 to 50,000
   * @throws QuotagateError `invalid_request` (400), `too_many_whatifs` (429)
   *
   * @example
   * const { newlyDenied } = await client.admin.whatif.replay({ plan: { id: "pro", groups } });
   */
  replay(body: WhatifBody, options: CallOptions = {}): Promise<RecentWhatif> {
    return this.write("POST", [], body, options);
  }
}
