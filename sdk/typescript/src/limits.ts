/** Limits of one owner: another quota for one user, team, key, or other value of a group's scope. */
import { everyEntry, type ListOptions, type Page, Resource } from "./admin/resource.js";
import type { CallOptions, WriteOptions } from "./call-options.js";
import type { OwnerLimit, OwnerLimitBody } from "./models.js";

/** Whose limit it is: a value for each name in the group's scope, such as `{ "metadata.team": "red" }`. */
export type OwnerScope = Record<string, string>;

/** Another quota for one owner. Needs an `sk_` key, or an `ak_` key with the role `support` or more. */
export class Limits extends Resource {
  /**
   * Sets the owner's quota in a group, in the group's unit. It applies to the next call, on every node. 0 denies every
   * matching call, null counts without limit; with `until` (RFC 3339) it ends by itself.
   *
   * @throws QuotagateError `invalid_request` (400), `not_found` (404)
   *
   * @example
   * await client.limits.put("team_tokens", { scope: { "metadata.team": "red" }, quota: 500_000 });
   */
  put(groupId: string, body: OwnerLimitBody, options: WriteOptions = {}): Promise<OwnerLimit> {
    return this.write("PUT", [groupId], body, options);
  }

  /**
   * A page of the owners that have another quota than the group. A page may be short, also if there are more.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * const { data } = await client.limits.list("team_tokens");
   */
  list(groupId: string, options: ListOptions = {}): Promise<Page<OwnerLimit>> {
    const { cursor, limit } = options;
    return this.read([], { groupId, cursor, limit }, options);
  }

  /**
   * Every limit of a group, page by page.
   *
   * @example
   * for await (const { scope, quota } of client.limits.all("team_tokens")) console.log(scope, quota);
   */
  all(groupId: string, options: Omit<ListOptions, "cursor"> = {}): AsyncGenerator<OwnerLimit, void, undefined> {
    return everyEntry((cursor) => this.list(groupId, { ...options, ...(cursor !== undefined && { cursor }) }));
  }

  /**
   * Removes the owner's quota, so that the group's applies again.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * await client.limits.delete("team_tokens", { "metadata.team": "red" });
   */
  async delete(groupId: string, scope: OwnerScope, options: CallOptions = {}): Promise<void> {
    const path = this.path(groupId);
    await this.transport.send({ method: "DELETE", path, body: { scope }, signal: options.signal, goneIsDone: true });
  }
}
