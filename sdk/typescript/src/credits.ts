/** Credits: prepaid amounts of one owner in a balance group, until they are used up or expire. */
import { everyEntry, type ListOptions, metadataQuery, type Page, Resource } from "./admin/resource.js";
import type { WriteOptions } from "./call-options.js";
import type { Credit, CreditBody, VoidBody } from "./models.js";

/** Whose credits: a value for each name in the group's scope. */
export interface CreditFilter extends ListOptions {
  userId?: string;
  /** ID of a key, for a group with `key` in its scope. */
  key?: string;
  /** Such as `{ team: "red" }`, for a group with `metadata.team` in its scope. */
  metadata?: Record<string, string>;
}

/** Prepaid amounts. Needs an `sk_` key, or an `ak_` key with the role `support` or more. */
export class Credits extends Resource {
  /**
   * Adds a credit to an owner's balance, in the group's unit. The next call can use it, on every node. A `sourceId` (the ID
   * of a payment) adds at most one credit to the owner in this group: a repetition returns that credit.
   *
   * @throws QuotagateError `invalid_request` (400), `too_many_credits` (409)
   *
   * @example
   * await client.credits.create({ groupId: "credits", scope: { user: "u_42" }, amount: 500, sourceId: payment.id });
   */
  create(body: CreditBody, options: WriteOptions = {}): Promise<Credit> {
    return this.write("POST", [], body, options);
  }

  /**
   * A page of an owner's credits in a balance group, live and ended ones, the newest first.
   *
   * @throws QuotagateError `invalid_request` (400)
   *
   * @example
   * const { data } = await client.credits.list("credits", { userId: "u_42" });
   */
  list(groupId: string, options: CreditFilter = {}): Promise<Page<Credit>> {
    const { userId, key, metadata, cursor, limit } = options;
    return this.read([], { groupId, userId, key, ...metadataQuery(metadata), cursor, limit }, options);
  }

  /**
   * Every credit of an owner in a balance group, page by page.
   *
   * @example
   * for await (const { amount, remaining } of client.credits.all("credits", { userId: "u_42" })) console.log(amount, remaining);
   */
  all(groupId: string, options: Omit<CreditFilter, "cursor"> = {}): AsyncGenerator<Credit, void, undefined> {
    return everyEntry((cursor) => this.list(groupId, { ...options, ...(cursor !== undefined && { cursor }) }));
  }

  /**
   * Removes what remains of a credit, for a refund or a chargeback. Without `amount`, also what open reservations return
   * later; with it, only that amount.
   *
   * @throws QuotagateError `invalid_request` (400), `not_found` (404)
   *
   * @example
   * await client.credits.void(credit.id, { note: "chargeback" });
   */
  void(creditId: string, body: VoidBody = {}, options: WriteOptions = {}): Promise<Credit> {
    return this.write("POST", [creditId, "void"], body, options);
  }
}
