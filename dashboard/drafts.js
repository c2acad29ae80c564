// Unsaved changes of plans and policies. The browser stores them, so that they survive a visit to another page, a reload
// and the end of a session.

import * as api from './api.js';

/** For a browser without storage. These are lost with the page, so the browser asks before it closes. */
const unstored = new Map();

const keyOf = (place) => `quotagate.draft.${api.place.app}.${place}`;

addEventListener('beforeunload', (event) => {
  if (unstored.size > 0) event.preventDefault();
});

/**
 * What was typed for a document, and which version it changes.
 * @typedef {{text: string, id: string, version: number | null, at: string}} Draft
 */

/** @returns {Draft | null} */
export function readDraft(place) {
  try {
    const draft = JSON.parse(localStorage.getItem(keyOf(place)) ?? unstored.get(keyOf(place)) ?? 'null');
    return typeof draft?.text === 'string' && typeof draft.id === 'string' ? draft : null;
  } catch {
    return null;
  }
}

/** @param {Draft} draft */
export function keepDraft(place, draft) {
  const text = JSON.stringify(draft);
  try {
    localStorage.setItem(keyOf(place), text);
  } catch {
    unstored.set(keyOf(place), text);
  }
}

export function dropDraft(place) {
  unstored.delete(keyOf(place));
  try {
    localStorage.removeItem(keyOf(place));
  } catch {
    // Without storage there is none.
  }
}
