// A payment provider's webhook changes subscriptions. The provider may send an event more than once.
import { createServer } from "node:http";
import { setup } from "./setup.mjs";

const { client, operator, userId, planId } = await setup("payment-webhook", [
  { id: "pay_images", label: "Images", unit: "count", quota: 5, matches: [{ event: "image.render" }] },
]);
await operator.admin.plans.put("payment-webhook-pro", {
  periodType: "monthly",
  periodAnchor: "subscription_start",
  groups: [{ id: "pay_images", label: "Images", unit: "count", quota: 100, matches: [{ event: "image.render" }] }],
});

/** @typedef {{ id: string, type: string, customer: string, paidAt: string, paidUntil: string }} PaymentEvent */

/** Call this after you have checked the provider's signature. @param {PaymentEvent} event */
async function onPayment(event) {
  // The event's id is the idempotency key, so a repeated event changes nothing.
  const once = { idempotencyKey: `payment-${event.id}` };
  if (event.type === "invoice.paid") {
    await client.upsertSubscription({ userId: event.customer, planId: "payment-webhook-pro", cycleStart: event.paidAt, endsAt: event.paidUntil }, once);
  } else if (event.type === "subscription.deleted") {
    await client.upsertSubscription({ userId: event.customer, planId, cycleStart: null, endsAt: null }, once);
  }
}

const server = createServer(async (request, response) => {
  let text = "";
  for await (const part of request) text += part;
  try {
    await onPayment(JSON.parse(text));
    response.writeHead(204).end();
  } catch (error) {
    // The provider sends the event again.
    console.error(error);
    response.writeHead(500).end();
  }
});
await new Promise((ready) => server.listen(0, "127.0.0.1", () => ready(undefined)));
const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());

/** @param {Partial<PaymentEvent>} event */
async function deliver(event) {
  const { status } = await fetch(`http://127.0.0.1:${port}`, { method: "POST", body: JSON.stringify({ customer: userId, ...event }) });
  const usage = await client.usage(userId);
  console.log(`${event.type}: ${status}, ${usage.planId}, ${usage.counters[0]?.remaining} images left`);
}

const day = 86_400_000;
const dates = { paidAt: new Date(Date.now() - day).toISOString(), paidUntil: new Date(Date.now() + 29 * day).toISOString() };
await client.track(userId, "image.render", 3);
await deliver({ id: "evt_1", type: "invoice.paid", ...dates });
await deliver({ id: "evt_1", type: "invoice.paid", ...dates });
await deliver({ id: "evt_2", type: "subscription.deleted" });
server.close();
