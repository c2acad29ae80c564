/** The audit log: who changed what. */
import type { AuditView } from "../models.js";
import { everyEntry, type ListOptions, type Page, Resource } from "./resource.js";

/** The filter of a list. */
export interface AuditFilter {
  /** The id of the key that made the change. */
  actor?: string;
  action?: string;
  target?: string;
}

export class AuditLog extends Resource {
  /**
   * A page of the log, newest first.
   *
   * @example
   * const { data } = await client.admin.audit.list({ target: "plan:pro" });
   */
  list(options: ListOptions & AuditFilter = {}): Promise<Page<AuditView>> {
    const { actor, action, target, cursor, limit } = options;
    return this.read([], { actor, action, target, cursor, limit }, options);
  }

  /**
   * Every entry, page by page, newest first.
   *
   * @example
   * for await (const entry of client.admin.audit.all()) console.log(entry.at, entry.actor, entry.action, entry.target);
   */
  all(options: Omit<ListOptions, "cursor"> & AuditFilter = {}): AsyncGenerator<AuditView, void, undefined> {
    return everyEntry((cursor) => this.list({ ...options, ...(cursor !== undefined && { cursor }) }));
  }
}
