// Streams of a page: open while the page is seen, and opened again when they break.

import { useCallback, useEffect, useRef, useState } from './vendor/hooks.js';
import * as api from './api.js';

const AGAIN_MS = 5000;

/**
 * Keeps a stream open. `open` gets what to call when it breaks and answers what stops it; `seen` is called when the page
 * is seen again. Only while the tab is seen: a browser keeps few connections to one host, and tabs in the background must
 * not use them up.
 */
export function useStream(open, seen, inputs) {
  const [round, setRound] = useState(0);
  useEffect(() => {
    let stop = () => {};
    let timer = null;
    const start = () => {
      stop();
      clearTimeout(timer);
      stop = () => {};
      if (document.hidden) return;
      stop = open(() => {
        timer = setTimeout(() => setRound((round) => round + 1), AGAIN_MS);
      });
    };
    const visible = () => {
      start();
      if (!document.hidden) seen();
    };
    start();
    document.addEventListener('visibilitychange', visible);
    return () => {
      document.removeEventListener('visibilitychange', visible);
      stop();
      clearTimeout(timer);
    };
  }, [...inputs, api.place.mode, api.place.app, round]);
}

/**
 * Answers a bell: rung, it calls `act`, at once and then at most every so often; the last ring is never lost. However much
 * happens, what is loaded because of it can arrive before it is loaded again.
 */
export function useBell(act, every_ms) {
  const latest = useRef(act);
  latest.current = act;
  const state = useRef({ timer: null, last: 0 });
  useEffect(() => () => clearTimeout(state.current.timer), []);
  return useCallback(() => {
    const now = state.current;
    if (now.timer !== null) return;
    now.timer = setTimeout(() => {
      now.timer = null;
      now.last = Date.now();
      latest.current();
    }, Math.max(0, now.last + every_ms - Date.now()));
  }, []);
}

/** A value as it was, at most every so often; the last one comes in the end. */
export function useThrottled(value, every_ms) {
  const [held, setHeld] = useState(value);
  const latest = useRef(value);
  latest.current = value;
  const ring = useBell(() => setHeld(latest.current), every_ms);
  useEffect(() => {
    // What is there first is taken at once.
    if (held === null) setHeld(value);
    else if (value !== held) ring();
  }, [value]);
  return held ?? value;
}

/**
 * Calls `changed` when something has happened: events are followed only until the first one comes, and again a little
 * later, so that a page may stay open whatever the traffic.
 */
export function useHappening(changed) {
  const last = useRef('');
  useEffect(() => {
    last.current = '';
  }, [api.place.mode, api.place.app]);
  const open = (ended) => {
    const stop = api.followEvents({}, last.current, {
      told: (event, id) => {
        if (id) last.current = id;
        if (!event) return;
        stop();
        changed();
        ended();
      },
      ended,
    });
    return stop;
  };
  useStream(open, changed, []);
}
