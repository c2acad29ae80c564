/** Counters of groups whose scope is not only the user. */
import type { CounterView } from "../models.js";
import { everyEntry, type ListOptions, type Page, Resource } from "./resource.js";

export class Counters extends Resource {
  /**
   * A page of the counters of a group whose scope is not only the user, such as one per team.
   *
   * @throws QuotagateError `invalid_request` (400), `not_found` (404)
   *
   * @example
   * const { data } = await client.admin.counters.list("team_budget");
   */
  list(groupId: string, options: ListOptions = {}): Promise<Page<CounterView>> {
    const { cursor, limit } = options;
    return this.read([], { groupId, cursor, limit }, options);
  }

  /**
   * Every counter, page by page.
   *
   * @example
   * for await (const { scope, used } of client.admin.counters.all("team_budget")) console.log(scope, used);
   */
  all(groupId: string, options: Omit<ListOptions, "cursor"> = {}): AsyncGenerator<CounterView, void, undefined> {
    return everyEntry((cursor) => this.list(groupId, { ...options, ...(cursor !== undefined && { cursor }) }));
  }
}
