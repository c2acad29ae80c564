/** Previews of subscriptions. `client.upsertSubscription` writes them. */
import type { CallOptions } from "../call-options.js";
import type { SubscribeBody, SubscriptionPreviewView } from "../models.js";
import { Resource } from "./resource.js";

/** Subscriptions of users. */
export class Subscriptions extends Resource {
  /**
   * What a subscription would change in each counter of the user. Writes nothing.
   *
   * @throws QuotagateError `invalid_request` (400), as the subscription itself
   *
   * @example
   * const { counters } = await client.admin.subscriptions.preview({ userId: "u_42", planId: "pro" });
   */
  preview(body: SubscribeBody, options: CallOptions = {}): Promise<SubscriptionPreviewView> {
    return this.write("POST", [], body, options, { dryRun: true });
  }
}
