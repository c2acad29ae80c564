// Image generation: if model A is used up, the plan names model B as the fallback.
import { Denied } from "@quotagate/sdk";
import { setup, show } from "./setup.mjs";

const { client, userId } = await setup("image-fallback", [
  {
    id: "fb_model_a",
    label: "Model A",
    unit: "count",
    quota: 2,
    matches: [{ event: "image.model_a" }],
    onLimit: { message: "Model A is used up for this month", fallback: { event: "image.model_b" } },
  },
  { id: "fb_model_b", label: "Model B", unit: "count", quota: 50, matches: [{ event: "image.model_b" }] },
]);

/** @param {string} model @param {string} prompt */
async function render(model, prompt) {
  return `${prompt} by ${model}`;
}

/**
 * @param {string} event
 * @param {string} prompt
 * @returns {Promise<string>}
 */
async function image(event, prompt) {
  try {
    return await client.withReservation({ userId, event }, () => render(event.replace("image.", ""), prompt));
  } catch (error) {
    if (!(error instanceof Denied) || !error.fallback) throw error;
    return image(error.fallback.event, prompt);
  }
}

for (const prompt of ["a boat", "a house", "a tree"]) console.log(await image("image.model_a", prompt));
await show(client, userId);
