// What every page is made of. Text from the API only ever becomes a text node.

import { cloneElement, h } from './vendor/preact.js';
import { useCallback, useEffect, useId, useLayoutEffect, useRef, useState } from './vendor/hooks.js';
import htm from './vendor/htm.js';
import * as api from './api.js';

export const html = htm.bind(h);

// --- places -------------------------------------------------------------------------------------------------------

/** `#/users/u_42?search=a` as names and a query. */
export function here() {
  const [path, search] = location.hash.replace(/^#\/?/, '').split('?');
  const decode = (name) => {
    try {
      return decodeURIComponent(name);
    } catch {
      return name;
    }
  };
  return { names: path.split('/').filter(Boolean).map(decode), query: Object.fromEntries(new URLSearchParams(search ?? '')) };
}

export const link = (names, query = {}) => `#/${api.path(...names)}${api.query(query)}`;

export const go = (names, query) => {
  location.hash = link(names, query);
};

/** The address of the page that is shown. A link changes `location.hash` a moment before its page is shown. */
let shown = location.hash;

/** The page at `location.hash` is shown now. */
export function arrive() {
  shown = location.hash;
}

/** Keeps a list's filter in the address without a new step in the browser's history. */
export function keepFilter(query) {
  // The user has gone to another page already.
  if (location.hash !== shown) return;
  history.replaceState(null, '', link(here().names, query));
  arrive();
}

// --- loading ------------------------------------------------------------------------------------------------------

/**
 * Loads and loads again when `inputs` change. While that runs the former data stays, so that nothing jumps.
 * @param {(signal: AbortSignal) => Promise<any>} load
 */
export function useLoad(load, inputs) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    setState((state) => ({ ...state, loading: true }));
    load(stop.signal).then(
      (data) => stop.signal.aborted || setState({ data, error: null, loading: false }),
      (error) => stop.signal.aborted || setState((state) => ({ data: state.data, error, loading: false })),
    );
    return () => stop.abort();
  }, [...inputs, round]);
  const reload = useCallback(() => setRound((round) => round + 1), []);
  return { ...state, reload };
}

/** A list that grows by its `nextCursor`. `where` is the path, `filter` its query. */
export function usePages(where, filter) {
  const [more, setMore] = useState({ of: '', first: null, data: [], next: null, error: null });
  const name = `${where}${api.query(filter)}`;
  const first = useLoad((signal) => api.get(name, signal).then((page) => ({ ...page, of: name })), [name, api.place.mode, api.place.app]);
  // What was shown of later pages belongs to the first page that it was read after.
  const grown = more.of === name && more.first === first.data;
  const next = grown ? more.next : first.data?.nextCursor ?? null;
  const data = [...(first.data?.data ?? []), ...(grown ? more.data : [])];
  const loadMore = async () => {
    const before = grown ? more.data : [];
    try {
      const page = await api.get(`${where}${api.query({ ...filter, cursor: next })}`);
      setMore({ of: name, first: first.data, data: [...before, ...page.data], next: page.nextCursor, error: null });
    } catch (error) {
      setMore({ of: name, first: first.data, data: before, next, error });
    }
  };
  const error = first.error ?? (grown ? more.error : null);
  // While another filter loads, the list of the one before stays.
  const current = first.data?.of === name && !first.loading;
  return { data, next, loadMore, loaded: first.data !== null, current, loading: first.loading, grown, error, reload: first.reload };
}

/** What was typed, once the typing has paused. */
export function useSettled(value, wait_ms = 150) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), wait_ms);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

/** Looks again every few seconds while the page is seen and only its first part is shown. */
export function useFresh(pages, every_ms = 4000) {
  const latest = useRef(pages);
  latest.current = pages;
  useEffect(() => {
    const look = () => document.hidden || latest.current.loading || latest.current.grown || latest.current.reload();
    const timer = setInterval(look, every_ms);
    return () => clearInterval(timer);
  }, []);
}

/** Runs writes: one at a time, and under one name as long as the same thing is tried again. */
export function useWrite() {
  const [state, setState] = useState({ busy: false, error: null });
  const last = useRef({ text: '', name: '' });
  const write = async (method, where, body, headers = {}) => {
    const text = `${method} ${where} ${JSON.stringify(body ?? null)}`;
    if (last.current.text !== text) last.current = { text, name: api.writeName() };
    setState({ busy: true, error: null });
    try {
      const answer = await api.send(method, where, body, { 'Idempotency-Key': last.current.name, ...headers });
      last.current = { text: '', name: '' };
      setState({ busy: false, error: null });
      return answer ?? {};
    } catch (error) {
      if (error.status !== 0 && error.status < 500) last.current = { text: '', name: '' };
      setState({ busy: false, error });
      return null;
    }
  };
  return { ...state, write, clear: () => setState({ busy: false, error: null }) };
}

// --- states -------------------------------------------------------------------------------------------------------

export function ErrorBox({ error, retry }) {
  if (!error) return null;
  return html`<div class="error" role="alert">
    <strong>${error.title || 'Request failed'}</strong>
    ${error.errors?.length
      ? html`<ul>${error.errors.map((fault) => html`<li><code>${fault.field}</code> ${fault.message}</li>`)}</ul>`
      : html`<p>${error.message}</p>`}
    ${error.requestId && html`<p class="quiet">Request <code>${error.requestId}</code></p>`}
    ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}
  </div>`;
}

export const Loading = ({ what }) => html`<p class="quiet" role="status">Loading ${what}…</p>`;

export const Empty = ({ title, children }) => html`<div class="empty"><h2>${title}</h2>${children}</div>`;

/** Where else there may be data: what a test key did is in its sandbox, and the page begins in live mode. */
export const Elsewhere = () => html`<p class="quiet">${api.isTest() ? 'Live mode and other sandboxes have' : 'Sandboxes have'} data of their own: choose the mode in the menu.</p>`;

/** Error, loading, empty, or the children: the states of everything that is loaded. */
export function Loaded({ of, what, empty, children }) {
  if (of.error && !hasData(of)) return html`<${ErrorBox} error=${of.error} retry=${of.reload} />`;
  if (!hasData(of)) return html`<${Loading} what=${what} />`;
  const rows = Array.isArray(of.data) ? of.data : of.data?.data;
  return html`
    ${of.error && html`<${ErrorBox} error=${of.error} retry=${of.reload} />`}
    ${empty && Array.isArray(rows) && rows.length === 0 ? empty : typeof children === 'function' ? children() : children}
  `;
}

const hasData = (of) => of.loaded ?? of.data !== null;

export const More = ({ pages }) =>
  pages.next ? html`<p><button type="button" onClick=${pages.loadMore}>Show more</button></p>` : null;

/**
 * A table that scrolls by itself where it is wider than the page, also with the keyboard. On a phone its rows become cards.
 * @param {{label: string, compact?: boolean, wide?: boolean, children?: any}} given `compact`: it is narrow enough for a phone;
 *   `wide`: its figures are compared line by line, so it stays a table, of which the first column does not scroll away
 */
export function Table({ label, compact, wide, children }) {
  const frame = useRef(null);
  const shape = compact ? 'compact' : wide ? 'wide' : 'rows';
  useLayoutEffect(() => {
    if (shape !== 'rows') return;
    // Some screen readers announce no table where its parts are drawn as blocks, so each part names its role.
    const table = frame.current.firstElementChild;
    table.setAttribute('role', 'table');
    for (const part of [table.tHead, ...table.tBodies]) part?.setAttribute('role', 'rowgroup');
    for (const row of table.rows) {
      row.setAttribute('role', 'row');
      for (const cell of row.cells) cell.setAttribute('role', cell.tagName === 'TD' ? 'cell' : cell.scope === 'row' ? 'rowheader' : 'columnheader');
    }
    // In a card each value has the name of its column.
    const heads = [...(table.tHead?.rows[0]?.cells ?? [])].map((head) => head.textContent);
    const cells = [...table.tBodies].flatMap((body) => [...body.rows]).flatMap((row) => [...row.cells]);
    for (const cell of cells) if (cell.colSpan === 1) cell.dataset.label = heads[cell.cellIndex] ?? '';
  });
  return html`<div ref=${frame} class=${`scroll ${shape}`} tabindex="0" role="group" aria-label=${label}><table>${children}</table></div>`;
}

/**
 * A page's title with what can be done on it.
 * @param {{title?: string, name?: string, children?: any}} given `name` instead of a title: what the page is about
 */
export function Heading({ title, name, children }) {
  const text = title ?? name;
  useEffect(() => {
    document.title = `${text} · quotagate`;
  }, [text]);
  return html`<header class="heading"><h1 tabindex="-1">${title ?? html`<${Name} text=${name} />`}</h1><div class="actions">${children}</div></header>`;
}

// --- small things -------------------------------------------------------------------------------------------------

/** Times of the API keep their line. */
const timed = (text) => text.split(/(\d{4}-\d\d-\d\dT[\d:.]+Z)/).map((part, at) => (at % 2 ? html`<time datetime=${part}>${part}</time>` : part));

/** A text of the API, in which names are between backticks. */
export const Marked = ({ text }) => html`<bdi>${text.split('`').map((part, at) => (at % 2 ? html`<code>${part}</code>` : timed(part)))}</bdi>`;

/** A name that can be copied; it keeps its own direction, so that it cannot turn what stands beside it around. */
export function Name({ text, href }) {
  const name = html`<bdi class="name">${text}</bdi>`;
  return html`<span class="named">${href ? html`<a href=${href}>${name}</a>` : name}<${Copy} text=${text} label=${`Copy ${text}`} small /></span>`;
}

const copyIcon = html`<svg viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" aria-hidden="true"><rect x="5.5" y="5.5" width="8" height="8" rx="1.5" /><path d="M10.5 3v-.5h-8v8H3" /></svg>`;

export function Copy({ text, label = 'Copy', small }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    if (!(await toClipboard(text))) return;
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return html`<button type="button" class=${small ? 'copy small' : 'copy'} onClick=${copy} aria-label=${label} title=${label}>
    ${copied ? 'Copied' : small ? copyIcon : 'Copy'}
  </button>`;
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without https the browser has only the old way.
    const area = document.createElement('textarea');
    area.value = text;
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

/** Shown once: a secret with its button. */
export const Secret = ({ title, text }) => html`<div class="secret">
  <p><strong>${title}</strong> It is shown only once.</p>
  <p class="row"><code>${text}</code><${Copy} text=${text} /></p>
</div>`;

/** `team=red, environment=production` as an object. */
export function pairs(text) {
  const given = text.split(',').map((pair) => pair.trim()).filter(Boolean);
  return Object.fromEntries(given.map((pair) => [pair.split('=')[0].trim(), pair.split('=').slice(1).join('=').trim()]));
}

/** The same as parameters of a call: `metadata.team`. */
export const metadataQuery = (metadata) => Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`metadata.${name}`, value]));

export const Badge = ({ kind = '', children }) => html`<span class=${`badge ${kind}`}>${children}</span>`;

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const steps = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/**
 * Relative to the time of the data, with the exact time on hover. `real`: a time of this machine, whatever a test clock says.
 * @param {{at: string | null | undefined, never?: string, real?: boolean}} given
 */
export function Time({ at, never = '–', real = false }) {
  if (!at) return html`<span class="quiet">${never}</span>`;
  const seconds = (new Date(at).getTime() - (real ? Date.now() : api.now().getTime())) / 1000;
  const [unit, size] = steps.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1];
  return html`<time datetime=${at} title=${at}>${relative.format(Math.round(seconds / size), unit)}</time>`;
}

/** A time of a test clock, which is set to the second: `31 Jan 2031, 12:00:00 UTC`. */
export function ClockTime({ at }) {
  const time = new Date(at).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium', timeZone: 'UTC' });
  return html`<time datetime=${at} title=${at}>${time} UTC</time>`;
}

/** Which version of a plan or policy it was. Its number is the time, in microseconds, at which it was saved. */
export function Version({ number: version }) {
  if (!version) return null;
  const at = new Date(version / 1000);
  const time = at.toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' });
  return html`<span class="quiet" title=${`Version ${version}`}>as saved <time datetime=${at.toISOString()}>${time} UTC</time></span>`;
}

/** A day, or the time of a day that is near. */
export function when(at) {
  if (!at) return 'never';
  const date = new Date(at);
  const near = Math.abs(date.getTime() - api.now().getTime()) < 86_400_000;
  /** @type {Intl.DateTimeFormatOptions} */
  const options = near ? { hour: '2-digit', minute: '2-digit', timeZone: 'UTC' } : { day: 'numeric', month: 'short', timeZone: 'UTC' };
  return date.toLocaleString('en-GB', options) + (near ? ' UTC' : '');
}

const figures = new Intl.NumberFormat('en', { maximumFractionDigits: 6 });
const money = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const smallMoney = new Intl.NumberFormat('en', { maximumSignificantDigits: 2 });

export const number = (value) => (value === null || value === undefined ? '∞' : figures.format(value));

/** @param {number} cents @param {Intl.NumberFormatOptions} [options] */
function asCurrency(cents, options = {}) {
  const format = new Intl.NumberFormat('en', { style: 'currency', currency: api.place.currency ?? 'USD', ...options });
  return format.format(cents / 100);
}

/** A figure in its unit, without the unit's name. Cents have two places, or the app's currency; a small price keeps two digits. */
export function figure(value, unit) {
  if (unit !== 'cents' || value === null || value === undefined) return number(value);
  const small = value !== 0 && Math.abs(value) < (api.place.currency ? 1 : 0.1);
  if (api.place.currency) return asCurrency(value, small ? { maximumSignificantDigits: 2 } : {});
  return (small ? smallMoney : money).format(value);
}

/** The unit's name behind a figure. A count needs none, and a currency has its own sign. */
export const unitName = (unit) => (!unit || unit === 'count' || (unit === 'cents' && api.place.currency) ? '' : ` ${unit}`);

const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 2 });

/** A figure at an axis. */
export const tick = (value, unit) => (unit === 'cents' && api.place.currency ? asCurrency(value, { notation: 'compact', maximumFractionDigits: 2 }) : short.format(value));

/** An amount in its unit. */
export const amount = (value, unit) => `${figure(value, unit)}${unitName(unit)}`;
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** A control with its name. `fault` is what the API has against its value. */
export function Field({ label, hint, fault, children }) {
  const id = useId();
  const about = [fault && `${id}-fault`, hint && `${id}-hint`].filter(Boolean).join(' ');
  const control = cloneElement(children, { id, 'aria-describedby': about || undefined, 'aria-invalid': fault ? 'true' : undefined });
  return html`<div class="field"><label for=${id}>${label}</label>${control}
    ${fault && html`<p class="fault" id=${`${id}-fault`} role="alert">${fault}</p>`}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}</div>`;
}

/** What an answer has against each field, and the error itself if a field that is not shown is at fault. */
export function faultsOf(error, shown) {
  const faults = Object.fromEntries((error?.errors ?? []).map((fault) => [fault.field, fault.message]));
  const known = error?.errors?.length > 0 && error.errors.every((fault) => shown(fault.field));
  return { faults, rest: known ? null : error };
}

/**
 * Says what will be done and asks. `submit` answers true when the dialog may close; `blocked`: it cannot be done yet.
 * The browser keeps the focus inside, and Escape closes it.
 */
export function Dialog({ title, action, danger, busy, blocked, error, submit, close, children }) {
  const dialog = useRef(null);
  // Opens before the next key press, so what is typed at once goes into the dialog.
  useLayoutEffect(() => {
    if (dialog.current.open) return;
    dialog.current.showModal();
    // What is to be filled in comes before names that can be copied.
    dialog.current.querySelector('input, select, textarea')?.focus();
  }, []);
  // The browser returns the focus and emits `close`.
  const shut = () => dialog.current?.close();
  const onSubmit = async (event) => {
    event.preventDefault();
    if (!busy && !blocked && (await submit())) shut();
  };
  return html`<dialog ref=${dialog} onClose=${close} aria-label=${title}>
    <form onSubmit=${onSubmit}>
      <h2>${title}</h2>
      ${children}
      <${ErrorBox} error=${error} />
      <div class="buttons">
        <button type="button" onClick=${shut}>${action ? 'Cancel' : 'Close'}</button>
        ${action && html`<button type="submit" class=${danger ? 'danger' : 'primary'} disabled=${busy || blocked}>${busy ? 'One moment…' : action}</button>`}
      </div>
    </form>
  </dialog>`;
}

/** Which dialog is open: its name and what it is about. */
export function useDialog() {
  const [open, setOpen] = useState(null);
  const close = useCallback(() => setOpen(null), []);
  return { open, close, show: (name, about) => setOpen({ name, about }) };
}

/** A write with a note that a dialog asks for: `about` says what it does. */
export function Confirm({ title, about, action, danger, note = true, hint = 'Stored in the audit log.', most = 1000, run, close }) {
  const [text, setText] = useState('');
  const { busy, error, write } = useWrite();
  const submit = async () => (await run(write, text.trim() || undefined)) !== null;
  return html`<${Dialog} title=${title} action=${action} danger=${danger} busy=${busy} error=${error} submit=${submit} close=${close}>
    <div class="about">${about}</div>
    ${note && html`<${Field} label="Note" hint=${hint}><input name="note" value=${text} maxlength=${most} onInput=${(event) => setText(event.target.value)} /><//>`}
  <//>`;
}
