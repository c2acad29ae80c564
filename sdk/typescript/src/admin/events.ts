/** What changed counters, what ended, and what was denied. */
import type { EventView } from "../models.js";
import { everyEntry, type ListOptions, metadataQuery, type Page, Resource } from "./resource.js";

/** Which events; what is left out lets all through. */
export interface EventFilter {
  /** Some of `commit`, `draw`, `release`, `track`, `refund`, `reset`, `expire`, `outcome`, `denial`. */
  types?: string[];
  userId?: string;
  /** A name or a glob. */
  event?: string;
  keyId?: string;
  groupId?: string;
  reservationId?: string;
  outcome?: "accepted" | "rejected";
  /** Commits after the expiry, or all others. */
  late?: boolean;
  /** Of a denial or a release. */
  reason?: string;
  metadata?: Record<string, string>;
  /** RFC 3339: taken down at or after it, in real time. */
  from?: string;
  /** RFC 3339: taken down before it. */
  to?: string;
  /** `desc` (default): the newest first. */
  order?: "desc" | "asc";
}

/** The ledger and the denials. They are followed live by `GET events/stream`, which this package leaves to the platform. */
export class Events extends Resource {
  /**
   * A page of events.
   *
   * @throws QuotagateError `invalid_request` (400)
   *
   * @example
   * const { data } = await client.admin.events.list({ userId: "u_42", types: ["denial"] });
   */
  list(options: ListOptions & EventFilter = {}): Promise<Page<EventView>> {
    const { types, metadata, signal, ...rest } = options;
    return this.read([], { ...rest, type: types?.join(","), ...metadataQuery(metadata) }, { signal });
  }

  /**
   * Every event, page by page.
   *
   * @example
   * for await (const event of client.admin.events.all({ event: "llm.*", order: "asc" })) console.log(event.id);
   */
  all(options: Omit<ListOptions, "cursor"> & EventFilter = {}): AsyncGenerator<EventView, void, undefined> {
    return everyEntry((cursor) => this.list({ ...options, ...(cursor !== undefined && { cursor }) }));
  }
}
