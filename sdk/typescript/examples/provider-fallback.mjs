// Several providers with one reservation: the commit names the provider that answered, and each call is charged once.
import { setup, show } from "./setup.mjs";

const { client, userId } = await setup("provider-fallback", [
  { id: "prov_tokens", label: "Tokens", unit: "tokens", quota: 10_000, measure: "quantity", matches: [{ event: "llm.tokens" }] },
  {
    id: "prov_spend",
    label: "Spend",
    unit: "cents",
    quota: 100,
    matches: [
      { event: "llm.tokens", metadata: { provider: "a" }, measure: { per: { quantity: "0.01" } } },
      { event: "llm.tokens", metadata: { provider: "b" }, measure: { per: { quantity: "0.02" } } },
    ],
  },
]);

const providers = [
  { name: "a", call: async () => Promise.reject(new Error("overloaded")) },
  { name: "b", call: async () => ({ text: "hello", tokens: 120 }) },
];

const text = await client.withReservation({ userId, event: "llm.tokens", quantity: 500, metadata: { provider: "a" } }, async (r) => {
  for (const [attempt, provider] of providers.entries()) {
    try {
      const result = await provider.call();
      r.use(result.tokens).tag({ provider: provider.name, fallback: attempt > 0 });
      return result.text;
    } catch (error) {
      console.log(`provider ${provider.name}: ${/** @type {Error} */ (error).message}`);
    }
  }
  throw new Error("no provider answered");
});

console.log(text);
await show(client, userId);
