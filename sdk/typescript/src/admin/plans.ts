/** Plans and policies: named sets of limit groups, with versions. */
import type { CallOptions, WriteOptions } from "../call-options.js";
import type { DeletePreview, PlanBody, PlanView, PolicyBody, PolicyVersionView, PolicyView, Preview, VersionView } from "../models.js";
import { Resource, type Page, type VersionedOptions } from "./resource.js";

/** The common part of plans and policies. */
class Versioned<Body extends object, View, Version> extends Resource {
  /**
   * All plans or policies.
   *
   * @example
   * const { data } = await client.admin.plans.list();
   */
  list(options: CallOptions = {}): Promise<Page<View>> {
    return this.read([], {}, options);
  }

  /**
   * One plan or policy, with its version.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * const { version, groups } = await client.admin.plans.get("pro");
   */
  get(id: string, options: CallOptions = {}): Promise<View> {
    return this.read([id], {}, options);
  }

  /**
   * Creates or replaces a plan or policy. It applies from the next call on every node.
   *
   * @param options `ifMatch`: only if the version is still this one
   * @throws QuotagateError `invalid_request` (400) naming each faulty field, `version_conflict` (412)
   *
   * @example
   * await client.admin.plans.put("pro", {
   *   groups: [{ id: "pro_images", unit: "count", quota: 20, periodType: "monthly", periodAnchor: "calendar",
   *              matches: [{ event: "image.*" }] }],
   * });
   */
  put(id: string, body: Body, options: VersionedOptions = {}): Promise<View> {
    return this.write("PUT", [id], body, options);
  }

  /**
   * What `put` would change, and how many users would be over a lowered quota. Writes nothing.
   *
   * @throws QuotagateError as `put`
   *
   * @example
   * const { changes, overLimit } = await client.admin.plans.preview("pro", draft);
   */
  preview(id: string, body: Body, options: VersionedOptions = {}): Promise<Preview> {
    return this.write("PUT", [id], body, options, { dryRun: true });
  }

  /**
   * The versions, newest first.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * const { data } = await client.admin.plans.versions("pro");
   */
  versions(id: string, options: CallOptions = {}): Promise<Page<Version>> {
    return this.read([id, "versions"], {}, options);
  }

  /**
   * Writes the content of an earlier version as a new one.
   *
   * @throws QuotagateError `not_found` (404), `version_conflict` (412)
   *
   * @example
   * await client.admin.plans.rollback("pro", 3);
   */
  rollback(id: string, version: number, options: VersionedOptions = {}): Promise<View> {
    return this.write("POST", [id, "rollback"], { version }, options);
  }
}

/** Plans: limit groups for the users who are on them. */
export class Plans extends Versioned<PlanBody, PlanView, VersionView> {
  /**
   * Deletes a plan.
   *
   * @param options `moveTo`: the plan that its users move to
   * @throws QuotagateError `plan_in_use` (409) while users are on it, `not_found` (404), `version_conflict` (412)
   *
   * @example
   * await client.admin.plans.delete("old", { moveTo: "pro" });
   */
  delete(id: string, options: VersionedOptions & { moveTo?: string } = {}): Promise<void> {
    return this.remove([id], options, { moveTo: options.moveTo });
  }

  /**
   * What depends on a plan: users by mode, groups, grants, approval requests, webhooks. `refusal` is the reason for which
   * `delete` would fail now. Writes nothing.
   *
   * @throws QuotagateError `not_found` (404), `version_conflict` (412)
   *
   * @example
   * const { users, refusal } = await client.admin.plans.previewDelete("old", { moveTo: "pro" });
   */
  previewDelete(id: string, options: VersionedOptions & { moveTo?: string } = {}): Promise<DeletePreview> {
    return this.dryDelete([id], options, { moveTo: options.moveTo });
  }
}

/** Policies: limit groups for every event of the app, whatever the user's plan. */
export class Policies extends Versioned<PolicyBody, PolicyView, PolicyVersionView> {
  /**
   * Records a review of the policy.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * await client.admin.policies.review("team_budgets", { note: "as planned" });
   */
  review(id: string, options: WriteOptions & { note?: string } = {}): Promise<PolicyView> {
    return this.write("POST", [id, "review"], { note: options.note }, options);
  }

  /**
   * Deletes a policy.
   *
   * @throws QuotagateError `not_found` (404), `version_conflict` (412)
   *
   * @example
   * await client.admin.policies.delete("team_budgets");
   */
  delete(id: string, options: VersionedOptions = {}): Promise<void> {
    return this.remove([id], options);
  }

  /**
   * What depends on a policy: groups, grants, approval requests, webhooks. Writes nothing.
   *
   * @throws QuotagateError `not_found` (404), `version_conflict` (412)
   *
   * @example
   * const { openApprovals } = await client.admin.policies.previewDelete("team_budgets");
   */
  previewDelete(id: string, options: VersionedOptions = {}): Promise<DeletePreview> {
    return this.dryDelete([id], options);
  }
}
