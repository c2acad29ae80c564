// Streams of a page: open while the page is seen, and opened again when they break.

import { useEffect, useState } from './vendor/hooks.js';
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
