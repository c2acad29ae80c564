// Soft caps: usage is counted past the quota and invoiced. The user is notified at 80 % and 100 %.
import { setup } from "./setup.mjs";

const { client, userId } = await setup("soft-caps", [
  { id: "soft_calls", label: "API calls", unit: "count", quota: 100, enforcement: "soft", matches: [{ event: "api.call" }] },
]);

let notified = 0;
for (const calls of [50, 35, 20, 15]) {
  const { counters } = await client.track(userId, "api.call", calls);
  const [counter] = counters;
  const percent = counter?.percentUsed ?? 0;
  const threshold = [100, 80].find((one) => percent >= one) ?? 0;
  if (threshold > notified) console.log(`You have used ${percent} % of your ${counter?.label}`);
  notified = threshold;
  console.log(`${counter?.used} used, ${counter?.overage} to be invoiced`);
}
