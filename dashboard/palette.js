// Search from every page: users by any part of ID, name or tag, plans, policies, webhooks, keys and pages. Enter opens what is chosen.

import { useEffect, useLayoutEffect, useRef, useState } from './vendor/hooks.js';
import * as api from './api.js';
import { ErrorBox, html, link, useLoad, useSettled } from './ui.js';

/** Users that are shown, and pages of ids that are looked at for them, 50,000 ids each. */
const SHOWN = 8;
const PAGES = 40;

/**
 * Users whose IDs, names or tags contain the text. Each call searches a part of the users.
 * @returns {Promise<{users: any[], more: boolean}>}
 */
async function usersWith(text, signal) {
  const users = [];
  let cursor;
  for (let page = 0; page < PAGES; page += 1) {
    const found = await api.get(`users${api.query({ contains: text, limit: SHOWN, cursor })}`, signal);
    users.push(...found.data);
    cursor = found.nextCursor;
    if (!cursor || users.length >= SHOWN) break;
  }
  return { users: users.slice(0, SHOWN), more: Boolean(cursor) || users.length > SHOWN };
}

/** Everything of the configuration that has a name. */
async function named(signal) {
  const read = (where) => api.get(where, signal).then(({ data }) => data, () => []);
  const [plans, policies, webhooks, keys] = await Promise.all(['plans', 'policies', 'webhooks', 'keys'].map(read));
  const of = (kind, place) => (one) => ({ kind, text: one.id, about: one.name ?? one.owner ?? '', href: link([place, one.id]) });
  return [
    ...plans.map(of('plan', 'plans')),
    ...policies.map(of('policy', 'policies')),
    ...webhooks.map(of('webhook', 'webhooks')),
    ...keys.map((key) => ({ kind: 'key', text: key.name || key.id, about: key.prefix ?? '', href: link(['keys']) })),
  ];
}

const has = (text) => (one) => `${one.text} ${one.about}`.toLowerCase().includes(text.toLowerCase());

const asUser = ({ userId, name, tags }) => ({ kind: 'user', text: userId, about: [name, ...(tags ?? [])].filter(Boolean).join(', '), href: link(['users', userId]) });

/** @param {{pages: {text: string, href: string}[], close: () => void}} given */
export function Palette({ pages, close }) {
  const dialog = useRef(null);
  const [typed, setTyped] = useState('');
  const [at, setAt] = useState(0);
  /** Enter came before the users were found. */
  const [wanted, setWanted] = useState(false);
  const text = typed.trim();
  const settled = useSettled(text, 150);
  const known = useLoad(named, []);
  const users = useLoad((signal) => (settled ? usersWith(settled, signal).then((found) => ({ of: settled, ...found })) : Promise.resolve({ of: '', users: [], more: false })), [settled]);
  const found = users.data?.of === text ? users.data : null;
  const places = pages.map(({ text, href }) => ({ kind: 'page', text, about: '', href })).filter(has(text));
  const others = text ? (known.data ?? []).filter(has(text)).slice(0, SHOWN) : [];
  const all = [...(found?.users ?? []).map(asUser), ...others, ...places];
  // The id that was typed as it is comes first.
  const hits = all.sort((one, other) => Number(other.text === text) - Number(one.text === text));
  const chosen = Math.min(at, hits.length - 1);
  const shut = () => dialog.current?.close();
  const open = (hit) => {
    shut();
    location.hash = hit.href;
  };
  const ready = found !== null || users.error !== null || text === '';
  // Opens before the next key press, so what is typed at once is searched for.
  useLayoutEffect(() => {
    if (!dialog.current.open) dialog.current.showModal();
  }, []);
  useEffect(() => {
    if (!wanted || !ready) return;
    setWanted(false);
    if (hits[chosen]) open(hits[chosen]);
  }, [wanted, ready]);
  const onKeyDown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setAt((Math.max(chosen, 0) + step + hits.length) % Math.max(hits.length, 1));
    else if (event.key === 'Enter') setWanted(true);
    else return;
    event.preventDefault();
  };
  const type = (event) => {
    setTyped(event.target.value);
    setAt(0);
  };
  const says = !ready ? 'Looking for users…' : hits.length === 0 ? 'Nothing found.' : `${hits.length}${found?.more ? ' or more' : ''} found`;
  return html`<dialog ref=${dialog} class="palette" aria-label="Search" onClose=${close}>
    <input role="combobox" aria-label="Search everything" aria-expanded="true" aria-controls="palette-hits" aria-activedescendant=${hits[chosen] ? `palette-${chosen}` : undefined} autocomplete="off" spellcheck=${false}
      placeholder="A user, plan, policy, webhook, key or page" value=${typed} onInput=${type} onKeyDown=${onKeyDown} />
    <ul id="palette-hits" role="listbox" aria-label="Found">${hits.map((hit, place) => html`<li key=${hit.href + hit.text} id=${`palette-${place}`} role="option" aria-selected=${place === chosen ? 'true' : 'false'} onClick=${() => open(hit)}>
      <span class="quiet">${hit.kind}</span> <bdi class="name">${hit.text}</bdi> <bdi class="quiet">${hit.about === hit.text ? '' : hit.about}</bdi></li>`)}</ul>
    <${ErrorBox} error=${users.error} />
    <p class="quiet" role="status">${says}</p>
  </dialog>`;
}
