/** Tokens for publishable keys that require one. */

async function webCrypto(): Promise<Crypto> {
  const own = globalThis.crypto as Crypto | undefined;
  // Browsers have no subtle crypto on plain http.
  if (own?.subtle) return own;
  // Node 18 has it only in this module. The name is not a literal, so that bundlers for browsers ignore it.
  const name = "node:crypto";
  const node = (await import(name)) as { webcrypto: Crypto };
  return node.webcrypto;
}

/**
 * The `X-User-Token` of one user: the HMAC-SHA256 of the user id. Compute it in your back end and send it to the page.
 *
 * @param secret the publishable key's `userTokenSecret`, shown once at its creation
 * @returns lower-case hex
 *
 * @example
 * const token = await userToken(process.env.USER_TOKEN_SECRET!, session.userId);
 */
export async function userToken(secret: string, userId: string): Promise<string> {
  const { subtle } = await webCrypto();
  const encoder = new TextEncoder();
  const key = await subtle.importKey("raw", encoder.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signature = new Uint8Array(await subtle.sign("HMAC", key, encoder.encode(userId)));
  return Array.from(signature, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
