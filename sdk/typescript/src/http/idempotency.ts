/** Idempotency keys: unique, not secret. */

function hex(bytes: Iterable<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Creates a key. Browsers on plain http have no randomUUID, and Node 18 has no global crypto. */
export function newIdempotencyKey(source = globalThis.crypto as Partial<Crypto> | undefined): string {
  if (source?.randomUUID) return source.randomUUID();
  const bytes = source?.getRandomValues
    ? source.getRandomValues(new Uint8Array(16))
    : Array.from({ length: 16 }, () => Math.floor(Math.random() * 256));
  return `${Date.now().toString(16)}-${hex(bytes)}`;
}
