/** The ledger and the denials. */
import type { EventView } from "../models.js";
import { everyEntry, type ListOptions, metadataQuery, type Page, Resource } from "./resource.js";

/** The filter of a list. */
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
  /** True: only commits after the expiry; false: all others. */
  late?: boolean;
  /** The reason of a denial or a release. */
  reason?: string;
  metadata?: Record<string, string>;
  /** RFC 3339: recorded at or after this time, in real time. */
  from?: string;
  /** RFC 3339: recorded before this time. */
  to?: string;
  /** `desc` (default): the newest first. */
  order?: "desc" | "asc";
}

/** The ledger and the denials. To follow them live, call `GET events/stream` with `fetch`. */
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
