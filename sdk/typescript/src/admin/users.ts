/** Users and grants. */
import type { CallOptions, WriteOptions } from "../call-options.js";
import type { Grant, GrantBody, ProfileView, ResetBody, UserChanged, UserDetailView, UserProfile, UserView } from "../models.js";
import { everyEntry, type ListOptions, type Page, Resource } from "./resource.js";

/** The filter of a list. */
export interface UserFilter {
  /** The beginning of the id. */
  search?: string;
  /**
   * A text anywhere in the id, the display name or the tags, in upper or lower case. A page then may have few users, or
   * none, and still a `nextCursor`.
   */
  contains?: string;
}

/** Users of the app in the client's mode. */
export class Users extends Resource {
  /**
   * A page of users.
   *
   * @example
   * const { data, nextCursor } = await client.admin.users.list({ search: "u_4" });
   */
  list(options: ListOptions & UserFilter = {}): Promise<Page<UserView>> {
    const { search, contains, cursor, limit } = options;
    return this.read([], { search, contains, cursor, limit }, options);
  }

  /**
   * Every user, page by page.
   *
   * @example
   * for await (const user of client.admin.users.all({ contains: "lovelace" })) console.log(user.userId, user.name);
   */
  all(options: Omit<ListOptions, "cursor"> & UserFilter = {}): AsyncGenerator<UserView, void, undefined> {
    return everyEntry((cursor) => this.list({ ...options, ...(cursor !== undefined && { cursor }) }));
  }

  /**
   * One user: subscription, counters, open reservations, grants, history.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * const { counters, openReservations } = await client.admin.users.get("u_42");
   */
  get(id: string, options: CallOptions = {}): Promise<UserDetailView> {
    return this.read([id], {}, options);
  }

  /**
   * Replaces a user's display name and tags. Limits do not depend on them.
   *
   * @example
   * await client.admin.users.put("u_42", { name: "Ada Lovelace", tags: ["vip"] });
   */
  put(id: string, profile: UserProfile, options: WriteOptions = {}): Promise<ProfileView> {
    return this.write("PUT", [id], profile, options);
  }

  /**
   * Denies all calls of the user, with the reason `user_blocked`.
   *
   * @param options `note` for the audit log
   *
   * @example
   * await client.admin.users.block("u_42", { note: "charge-back" });
   */
  block(id: string, options: WriteOptions & { note?: string } = {}): Promise<UserChanged> {
    return this.write("POST", [id, "block"], { note: options.note }, options);
  }

  /**
   * Unblocks a user.
   *
   * @example
   * await client.admin.users.unblock("u_42");
   */
  unblock(id: string, options: WriteOptions & { note?: string } = {}): Promise<UserChanged> {
    return this.write("POST", [id, "unblock"], { note: options.note }, options);
  }

  /**
   * Resets the user's usage to 0.
   *
   * @param options `groupId`: only this group; default: every group
   *
   * @example
   * await client.admin.users.reset("u_42", { groupId: "pro_images" });
   */
  reset(id: string, options: WriteOptions & ResetBody = {}): Promise<UserChanged> {
    const { groupId, note } = options;
    return this.write("POST", [id, "reset"], { groupId, note }, options);
  }
}

/** Grants: extra quota for one counter. */
export class Grants extends Resource {
  /**
   * Grants extra quota.
   *
   * @param body `amount` in the group's unit; `expiresAt` RFC 3339, default: the end of the present window
   * @throws QuotagateError `not_found` (404), `invalid_request` (400): at most 8 live grants a counter
   *
   * @example
   * await client.admin.grants.create({ groupId: "pro_images", scope: { user: "u_42" }, amount: 5, note: "sorry" });
   */
  create(body: GrantBody, options: WriteOptions = {}): Promise<Grant> {
    return this.write("POST", [], body, options);
  }

  /**
   * Live grants, the first to expire first.
   *
   * @example
   * const { data } = await client.admin.grants.list({ userId: "u_42" });
   */
  list(options: ListOptions & { userId?: string } = {}): Promise<Page<Grant>> {
    const { userId, cursor, limit } = options;
    return this.read([], { userId, cursor, limit }, options);
  }

  /**
   * Revokes a grant. Usage stays.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * await client.admin.grants.delete(grant.id);
   */
  delete(id: string, options: CallOptions = {}): Promise<void> {
    return this.remove([id], options);
  }
}
