// Streams of a page: open while the page is seen, and opened again when they break.

import { useCallback, useEffect, useRef, useState } from './vendor/hooks.js';
import * as api from './api.js';
import { html } from './ui.js';

const AGAIN_MS = 5000;

/**
 * Keeps a stream open while the tab is seen: a browser keeps few connections to one host, a node few streams, and tabs in
 * the background must not use them up. Answers whether the node has no stream left; then the page looks by itself whenever
 * it asks for one again.
 * @param {(calls: {started: () => void, ended: (problem?: api.Problem) => void}) => () => void} open answers what stops it
 * @param {() => void} look called when something may have been missed: the page was out of sight, the stream was broken,
 * or there is none
 * @param {any[]} inputs
 */
export function useStream(open, look, inputs) {
  const [round, setRound] = useState(0);
  const [full, setFull] = useState(false);
  const broken = useRef(false);
  useEffect(() => {
    let stop = () => {};
    let timer = null;
    const started = () => {
      setFull(false);
      if (broken.current) look();
      broken.current = false;
    };
    const ended = (problem) => {
      broken.current = true;
      const none = problem?.code === 'too_many_streams';
      setFull(none);
      if (none) look();
      timer = setTimeout(() => setRound((round) => round + 1), AGAIN_MS);
    };
    const start = () => {
      stop();
      clearTimeout(timer);
      stop = document.hidden ? () => {} : open({ started, ended });
    };
    const visible = () => {
      start();
      if (!document.hidden) look();
    };
    start();
    document.addEventListener('visibilitychange', visible);
    return () => {
      document.removeEventListener('visibilitychange', visible);
      stop();
      clearTimeout(timer);
    };
  }, [...inputs, api.place.mode, api.place.app, round]);
  return full;
}

/** Says that the page polls, since the node has no stream left. */
export const Looking = ({ full }) => html`<p class="quiet looking" role="status">${full ? `This node has no event stream left, so this page refreshes every ${AGAIN_MS / 1000} seconds. It follows live again when a stream is free.` : ''}</p>`;

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
 * later, so that a page may stay open whatever the traffic. Answers as `useStream`.
 */
export function useHappening(changed) {
  const last = useRef('');
  useEffect(() => {
    last.current = '';
  }, [api.place.mode, api.place.app]);
  const again = useRef(null);
  const [round, setRound] = useState(0);
  const open = (calls) => {
    const stop = api.followEvents({}, last.current, {
      ...calls,
      received: (event, id) => {
        if (id) last.current = id;
        if (!event) return;
        stop();
        changed();
        again.current = setTimeout(() => setRound((round) => round + 1), AGAIN_MS);
      },
    });
    return () => {
      stop();
      clearTimeout(again.current);
    };
  };
  return useStream(open, changed, [round]);
}
