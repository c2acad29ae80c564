// Who did something: the key, by its name, since people do not know its ID.

import * as api from './api.js';
import { html, useLoad } from './ui.js';

/** Names are read again after this time. */
const FRESH_MS = 30_000;

let kept = { of: '', at: 0, names: Promise.resolve(new Map()) };

function names() {
  const of = `${api.place.session?.keyId} ${api.place.app}`;
  if (kept.of !== of || Date.now() - kept.at > FRESH_MS) {
    const read = api.get('keys').then(({ data }) => new Map(data.map((key) => [key.id, key.name])), () => new Map());
    kept = { of, at: Date.now(), names: read };
  }
  return kept.names;
}

export function By({ id }) {
  const known = useLoad(names, [api.place.app]);
  const name = known.data?.get(id);
  return html`<span class="by" title=${id}>${name ? html`<bdi class="name">${name}</bdi>` : html`<code>${id}</code>`}</span>`;
}
