/**
 * Loaded before a program that uses the package with its own defaults: what would take a second or more takes forty
 * times as long, so that no attempt times out because the machine is slow.
 */
const { setTimeout } = globalThis;

globalThis.setTimeout = ((work: (...values: unknown[]) => void, ms = 0, ...values: unknown[]) =>
  setTimeout(work, ms >= 1_000 ? ms * 40 : ms, ...values)) as typeof globalThis.setTimeout;
