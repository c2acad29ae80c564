// A badge that shows what is left, live, in a browser: no back end, a publishable key.
import { createClient } from "@quotagate/sdk";

/**
 * "12/20 (8 left) · resets …" for a counter.
 *
 * @param {import("@quotagate/sdk").Counter} counter
 */
export function badgeText({ used, held, quota, remaining, resetsAt }) {
  const count = used + held;
  if (quota === null || quota === undefined) return `${count} used`;
  const resets = resetsAt ? ` · resets ${new Date(resetsAt).toLocaleString()}` : "";
  return `${count}/${quota} (${remaining} left)${resets}`;
}

/**
 * Keeps an element's text up to date until the signal aborts.
 *
 * @param {{ textContent: string | null }} element
 * @param {import("@quotagate/sdk").ClientOptions & { userId: string, groupId?: string, signal?: AbortSignal }} options
 */
export async function showBadge(element, { userId, groupId, signal, ...options }) {
  const client = createClient(options);
  for await (const usage of client.watchUsage(userId, { ...(signal && { signal }) })) {
    const counter = usage.counters.find((one) => !groupId || one.groupId === groupId);
    element.textContent = counter ? badgeText(counter) : "no quota";
  }
}
