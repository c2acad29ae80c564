/** Webhooks and alerts. */
import type { CallOptions, WriteOptions } from "../call-options.js";
import type { AlertView, DeliveryStatus, DeliveryView, WebhookBody, WebhookView } from "../models.js";
import { everyEntry, type ListOptions, type Page, Resource, type VersionedOptions } from "./resource.js";

export class Webhooks extends Resource {
  /**
   * All webhooks.
   *
   * @example
   * const { data } = await client.admin.webhooks.list();
   */
  list(options: CallOptions = {}): Promise<Page<WebhookView>> {
    return this.read([], {}, options);
  }

  /**
   * One webhook.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * const { url } = await client.admin.webhooks.get("billing");
   */
  get(id: string, options: CallOptions = {}): Promise<WebhookView> {
    return this.read([id], {}, options);
  }

  /**
   * Creates or replaces a webhook.
   *
   * @throws QuotagateError `invalid_request` (400): private addresses are refused unless the gateway allows them
   *
   * @example
   * await client.admin.webhooks.put("billing", { url: "https://example.com/hook", events: ["limit.reached"] });
   */
  put(id: string, body: WebhookBody, options: VersionedOptions = {}): Promise<WebhookView> {
    return this.write("PUT", [id], body, options);
  }

  /**
   * Deletes a webhook and its pending deliveries.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * await client.admin.webhooks.delete("billing");
   */
  delete(id: string, options: VersionedOptions = {}): Promise<void> {
    return this.remove([id], options);
  }

  /**
   * Creates a new signing secret. Only this answer contains it. For 24 hours, messages are signed with both secrets.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * const { secret } = await client.admin.webhooks.rotateSecret("billing");
   */
  rotateSecret(id: string, options: WriteOptions = {}): Promise<WebhookView> {
    return this.write("POST", [id, "rotate-secret"], undefined, options);
  }

  /**
   * A page of deliveries, newest first.
   *
   * @example
   * const { data } = await client.admin.webhooks.deliveries("billing");
   */
  deliveries(id: string, options: ListOptions & { status?: DeliveryStatus } = {}): Promise<Page<DeliveryView>> {
    const { status, cursor, limit } = options;
    return this.read([id, "deliveries"], { status, cursor, limit }, options);
  }

  /**
   * Every delivery, page by page.
   *
   * @example
   * for await (const delivery of client.admin.webhooks.allDeliveries("billing")) console.log(delivery.status);
   */
  allDeliveries(id: string, options: Omit<ListOptions, "cursor"> & { status?: DeliveryStatus } = {}): AsyncGenerator<DeliveryView, void, undefined> {
    return everyEntry((cursor) => this.deliveries(id, { ...options, ...(cursor !== undefined && { cursor }) }));
  }

  /**
   * Sends a delivery again.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * await client.admin.webhooks.resend("billing", delivery.id);
   */
  resend(id: string, deliveryId: string, options: WriteOptions = {}): Promise<DeliveryView> {
    return this.write("POST", [id, "deliveries", deliveryId, "resend"], undefined, options);
  }
}

export class Alerts extends Resource {
  /**
   * A page of the events of webhooks, newest first: thresholds, limits, approval requests, expiries.
   *
   * @example
   * const { data } = await client.admin.alerts.list({ limit: 20 });
   */
  list(options: ListOptions = {}): Promise<Page<AlertView>> {
    const { cursor, limit } = options;
    return this.read([], { cursor, limit }, options);
  }

  /**
   * Every event, page by page, newest first.
   *
   * @example
   * for await (const alert of client.admin.alerts.all()) console.log(alert.timestamp, alert.text);
   */
  all(options: Omit<ListOptions, "cursor"> = {}): AsyncGenerator<AlertView, void, undefined> {
    return everyEntry((cursor) => this.list({ ...options, ...(cursor !== undefined && { cursor }) }));
  }
}
