/** Waits for conditions, with a deadline that even a slow machine meets. */

const DEADLINE_MS = 120_000;
const EVERY_MS = 10;

// Some tests replace these later.
const { setTimeout, clearTimeout } = globalThis;

/** Waits until `look` returns a value, and returns it; fails with `what` after two minutes. */
export async function eventually<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const begin = Date.now();
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() - begin > DEADLINE_MS) throw new Error(`waited ${DEADLINE_MS / 1000} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

/** Waits for the promise; fails with `what` after two minutes. */
export async function within<T>(what: string | (() => string), promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${DEADLINE_MS / 1000} s for ${typeof what === "string" ? what : what()}`)), DEADLINE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
