/** Waiting for a condition, with a deadline that no working machine misses. */

const DEADLINE_MS = 120_000;
const EVERY_MS = 10;

// Kept, because some tests put their own in the place of these.
const { setTimeout, clearTimeout } = globalThis;

/** What `look` brings as soon as it brings something; fails with `what` after two minutes. */
export async function eventually<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const begin = Date.now();
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() - begin > DEADLINE_MS) throw new Error(`waited ${DEADLINE_MS / 1000} s in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

/** The promise's outcome; fails with `what` after two minutes. */
export async function within<T>(what: string | (() => string), promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${DEADLINE_MS / 1000} s in vain for ${typeof what === "string" ? what : what()}`)), DEADLINE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
