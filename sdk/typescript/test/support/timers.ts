/** Timers that the test fires, so that nothing depends on the speed of the machine. */
import type { TestContext } from "node:test";
import type { Fetch } from "../../src/options.js";
import type { Proxy } from "./proxy.js";
import { eventually } from "./wait.js";

/** The timeout of a patient client, in milliseconds. */
export const PATIENCE_MS = 120_000;

interface Cued {
  ms: number;
  run: () => void;
}

/** The timers that the test fires. */
export interface Cue {
  /** The waiting timers, in the order in which they were set. */
  waiting: ReadonlySet<Cued>;
  /** The timer that was set last. */
  last: () => Cued;
  /** Fires this timer, unless it was cleared. */
  fire: (timer: Cued) => void;
  /** Waits until a timer is set, and fires it. */
  next: () => Promise<void>;
}

/** From now on, the test fires the timers whose length `mine` accepts. All others work as usual. */
export function cueTimers(context: TestContext, mine: (ms: number) => boolean): Cue {
  const waiting = new Set<Cued>();
  let last: Cued | undefined;
  const { setTimeout, clearTimeout } = globalThis;
  const set = (work: (...values: unknown[]) => void, ms = 0, ...values: unknown[]): unknown => {
    if (!mine(ms)) return setTimeout(work, ms, ...values);
    last = { ms, run: () => work(...values) };
    waiting.add(last);
    return last;
  };
  const clear = (timer: unknown): void => {
    if (!waiting.delete(timer as Cued)) clearTimeout(timer as undefined);
  };
  context.mock.method(globalThis, "setTimeout", set as typeof setTimeout);
  context.mock.method(globalThis, "clearTimeout", clear);
  const fire = (timer: Cued) => {
    if (waiting.delete(timer)) timer.run();
  };
  return {
    waiting,
    last: () => last!,
    fire,
    next: async () => fire(await eventually("a timer to be set", () => [...waiting][0])),
  };
}

/** Lengths of no other timer. */
const ATTEMPT_MS = 123_457;
const DEADLINE_MS = 3_600_000;

/**
 * Options of a client whose attempts time out only if the proxy is `slow`.
 *
 * @param proxy the proxy in front of the client
 */
export function timeoutsOfSlowOnes(context: TestContext, proxy: Proxy): { timeoutMs: number; deadlineMs: number; fetch: Fetch } {
  const cue = cueTimers(context, (ms) => ms === ATTEMPT_MS);
  const timers = new Map<string, Cued>();
  proxy.onSlow = (attempt) => cue.fire(timers.get(attempt!)!);
  return {
    timeoutMs: ATTEMPT_MS,
    deadlineMs: DEADLINE_MS,
    // The client sets the timer of an attempt right before it calls fetch.
    fetch: (input, init) => {
      const attempt = String(timers.size);
      timers.set(attempt, cue.last());
      return fetch(input, { ...init, headers: { ...(init.headers as Record<string, string>), "x-attempt": attempt } });
    },
  };
}

/** A clock that jumps to the next timer that `mine` accepts. Only for work without I/O. */
export function virtualTime(context: TestContext, mine: (ms: number) => boolean): { now: () => number } {
  let now = 0;
  const timers = new Set<{ at: number; run: () => void }>();
  const { setTimeout, clearTimeout } = globalThis;
  const advance = () => {
    const [next] = [...timers].sort((one, other) => one.at - other.at);
    if (!next) return;
    timers.delete(next);
    now = next.at;
    next.run();
    setImmediate(advance);
  };
  const set = (work: (...values: unknown[]) => void, ms = 0, ...values: unknown[]): unknown => {
    if (!mine(ms)) return setTimeout(work, ms, ...values);
    const timer = { at: now + ms, run: () => work(...values) };
    timers.add(timer);
    setImmediate(advance);
    return timer;
  };
  const clear = (timer: unknown): void => {
    if (!timers.delete(timer as never)) clearTimeout(timer as undefined);
  };
  context.mock.method(globalThis, "setTimeout", set as typeof setTimeout);
  context.mock.method(globalThis, "clearTimeout", clear);
  context.mock.method(performance, "now", () => now);
  return { now: () => now };
}
