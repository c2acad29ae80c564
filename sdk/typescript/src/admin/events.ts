/** The ledger and the denials. */
import type { CallOptions } from "../call-options.js";
import { follow } from "../http/follow.js";
import type { Call } from "../http/transport.js";
import type { EventView } from "../models.js";
import { everyEntry, type ListOptions, metadataQuery, type Page, Resource } from "./resource.js";

/** Which events. */
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
  /** True: only calls that limits with the enforcement `observe` would have denied. */
  observed?: boolean;
  metadata?: Record<string, string>;
}

/** Which events of a list, and their order. */
export interface EventListFilter extends EventFilter {
  /** RFC 3339: recorded at or after this time, in real time. */
  from?: string;
  /** RFC 3339: recorded before this time. */
  to?: string;
  /** `desc` (default): the newest first. */
  order?: "desc" | "asc";
}

function filterQuery({ types, metadata, ...rest }: EventFilter): NonNullable<Call["query"]> {
  return { ...rest, type: types?.join(","), ...metadataQuery(metadata) };
}

/** The ledger and the denials. */
export class Events extends Resource {
  /**
   * A page of events.
   *
   * @throws QuotagateError `invalid_request` (400)
   *
   * @example
   * const { data } = await client.admin.events.list({ userId: "u_42", types: ["denial"] });
   */
  list(options: ListOptions & EventListFilter = {}): Promise<Page<EventView>> {
    const { signal, ...filter } = options;
    return this.read([], filterQuery(filter), { signal });
  }

  /**
   * Every event, page by page.
   *
   * @example
   * for await (const event of client.admin.events.all({ event: "llm.*", order: "asc" })) console.log(event.id);
   */
  all(options: Omit<ListOptions, "cursor"> & EventListFilter = {}): AsyncGenerator<EventView, void, undefined> {
    return everyEntry((cursor) => this.list({ ...options, ...(cursor !== undefined && { cursor }) }));
  }

  /**
   * New events as they happen, until you stop. The client reconnects lost streams and misses none.
   *
   * @param options `after`: continue after the event with this id
   * @throws QuotagateError if a retry cannot help: `invalid_request` (400), `invalid_key` (401)
   *
   * @example
   * for await (const denial of client.admin.events.follow({ types: ["denial"], signal })) console.log(denial.reason);
   */
  follow(options: CallOptions & EventFilter & { after?: string } = {}): AsyncGenerator<EventView, void, undefined> {
    const { signal, after, ...filter } = options;
    return follow(this.transport, {
      path: this.path("stream"),
      query: filterQuery(filter),
      headers: after === undefined ? {} : { "last-event-id": after },
      signal,
      read: ({ data }) => JSON.parse(data) as EventView,
    });
  }
}
