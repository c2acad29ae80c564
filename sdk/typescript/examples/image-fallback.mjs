// Image generation: when model A is used up, the plan names model B, and the user still gets an image.
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
  const r = await client.reserve(userId, event);
  if (!r.allowed) {
    const fallback = /** @type {{ event: string } | undefined} */ (r.deniedBy[0]?.onLimit?.fallback);
    if (!fallback) throw new Error(r.reasons[0]);
    return image(fallback.event, prompt);
  }
  const id = /** @type {string} */ (r.reservationId);
  try {
    const result = await render(event.replace("image.", ""), prompt);
    await client.commit(id);
    return result;
  } catch (error) {
    await client.release(id);
    throw error;
  }
}

for (const prompt of ["a boat", "a house", "a tree"]) console.log(await image("image.model_a", prompt));
await show(client, userId);
