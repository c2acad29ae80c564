/**
 * Loaded before a program that uses clients with default options. Timers of a second or more take forty times as long,
 * so that no attempt times out because the machine is slow.
 */
const { setTimeout } = globalThis;

globalThis.setTimeout = ((work: (...values: unknown[]) => void, ms = 0, ...values: unknown[]) =>
  setTimeout(work, ms >= 1_000 ? ms * 40 : ms, ...values)) as typeof globalThis.setTimeout;
