/** Approval requests. */
import type { CallOptions, WriteOptions } from "../call-options.js";
import type { ApprovalView, ApproveBody, Grant } from "../models.js";
import { everyEntry, type ListOptions, type Page, Resource } from "./resource.js";

/** The filter of a list. */
export interface ApprovalFilter {
  /** Default `open`. */
  status?: "open" | "decided";
}

export class Approvals extends Resource {
  /**
   * A page of requests, newest first.
   *
   * @example
   * const { data } = await client.admin.approvals.list();
   */
  list(options: ListOptions & ApprovalFilter = {}): Promise<Page<ApprovalView>> {
    const { status, cursor, limit } = options;
    return this.read([], { status, cursor, limit }, options);
  }

  /**
   * Every request, page by page, newest first.
   *
   * @example
   * for await (const request of client.admin.approvals.all()) console.log(request.id, request.groupId);
   */
  all(options: Omit<ListOptions, "cursor"> & ApprovalFilter = {}): AsyncGenerator<ApprovalView, void, undefined> {
    return everyEntry((cursor) => this.list({ ...options, ...(cursor !== undefined && { cursor }) }));
  }

  /**
   * One request.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * const { status } = await client.admin.approvals.get(request.id);
   */
  get(id: string, options: CallOptions = {}): Promise<ApprovalView> {
    return this.read([id], {}, options);
  }

  /**
   * Approves a request: creates a grant, which the next call can use.
   *
   * @throws QuotagateError `not_found` (404), `invalid_request` (400)
   *
   * @example
   * await client.admin.approvals.approve(request.id, { amount: 500, note: "launch week", rollbackOwner: "ana" });
   */
  approve(id: string, approval: ApproveBody, options: WriteOptions = {}): Promise<Grant> {
    return this.write("POST", [id, "approve"], approval, options);
  }

  /**
   * Rejects a request until its window ends or someone reopens it.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * await client.admin.approvals.reject(request.id, { note: "next month" });
   */
  reject(id: string, options: WriteOptions & { note?: string } = {}): Promise<ApprovalView> {
    return this.write("POST", [id, "reject"], { note: options.note }, options);
  }

  /**
   * Reopens a decided request.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * await client.admin.approvals.reopen(request.id);
   */
  reopen(id: string, options: WriteOptions & { note?: string } = {}): Promise<ApprovalView> {
    return this.write("POST", [id, "reopen"], { note: options.note }, options);
  }
}
