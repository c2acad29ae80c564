// The only file that speaks to the API: session, mode, app, and one function for every call.

/** What the page works on. Kept by the browser, so that a page that is loaded again is where it was. */
export const place = {
  mode: kept('mode') ?? 'live',
  app: kept('app') ?? 'default',
  /** Who is signed in: the answer of `session`, or null. */
  session: null,
  /** RFC 3339: where the sandbox's clock stands, or null for real time. */
  frozen: null,
};

function kept(name) {
  try {
    return localStorage.getItem(`quotagate.${name}`);
  } catch {
    return null;
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(`quotagate.${name}`, value);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

const watchers = new Set();

/** Calls `watcher` when session, mode, app or clock have changed. Answers what ends that. */
export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

function told() {
  for (const watcher of watchers) watcher();
}

export function setMode(mode) {
  place.mode = mode;
  place.frozen = null;
  keep('mode', mode);
  told();
}

export function setApp(app) {
  place.app = app;
  keep('app', app);
  told();
}

export function setFrozen(now) {
  if (place.frozen === now) return;
  place.frozen = now;
  told();
}

export const isTest = () => place.mode !== 'live';

/** The time of the data that is shown: the sandbox's clock where it is frozen. */
export const now = () => (place.frozen ? new Date(place.frozen) : new Date());

const roles = ['viewer', 'support', 'approver', 'admin'];

/** May the one who is signed in do what that role may? The API decides; this only spares useless buttons. */
export const may = (role) => roles.indexOf(place.session?.role) >= roles.indexOf(role);

export const isRoot = () => place.session !== null && place.session.app === null;

/** An answer that is no success: a problem (RFC 9457), or no answer at all (status 0). */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The gateway answered ${status}.`);
    this.status = status;
    this.code = body.code ?? '';
    this.title = body.title ?? '';
    this.requestId = body.requestId ?? '';
    this.errors = body.errors ?? [];
    this.decision = body.decision ?? null;
  }
}

function headersFor(method, given) {
  const headers = { ...given };
  if (place.session) {
    headers['X-Mode'] = place.mode;
    // A key of one app needs no name of it.
    if (place.session.app === null) headers['X-App'] = place.app;
    if (method !== 'GET') headers['X-CSRF-Token'] = place.session.csrfToken;
  }
  return headers;
}

/** A path below /api/v1/ of names that may hold any character. */
export function path(...names) {
  return names.map(encodeURIComponent).join('/');
}

/** A query string without what is empty. */
export function query(values) {
  const set = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return set.length ? `?${new URLSearchParams(set)}` : '';
}

async function request(method, where, { body, headers, signal } = {}) {
  const given = headersFor(method, headers);
  if (body !== undefined) given['Content-Type'] = 'application/json';
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(`api/v1/${where}`, { method, headers: given, body: text, signal, credentials: 'same-origin' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, { title: 'No answer', detail: 'The gateway cannot be reached. Nothing is known about the effect.' });
  }
  if (response.ok) return response;
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (response.status === 401 && where !== 'session') {
    place.session = null;
    told();
  }
  throw problem;
}

async function json(response) {
  return response.status === 204 ? null : response.json();
}

/** @returns {Promise<any>} the answer's JSON */
export const get = async (where, signal) => json(await request('GET', where, { signal }));
export const send = async (method, where, body, headers) => json(await request(method, where, { body, headers }));

/** A name for one write: repeated with it after a lost answer, it counts once. */
export function writeName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Takes up the session of the browser's cookie, if there is one. */
export async function resume() {
  try {
    place.session = await get('session');
  } catch (problem) {
    place.session = null;
    if (problem.status !== 401) throw problem;
  } finally {
    told();
  }
}

export async function signIn(key) {
  place.session = await send('POST', 'session', { key });
  told();
}

export async function signOut() {
  try {
    await send('DELETE', 'session');
  } catch (problem) {
    if (problem.status !== 401) throw problem;
  }
  place.session = null;
  told();
}

/**
 * Follows a user's counters. `changed` is called with each state after the first; `ended` when the stream breaks.
 * Answers what stops it.
 */
export function follow(userId, changed, ended) {
  const stop = new AbortController();
  const read = async () => {
    const response = await request('GET', `usage/stream${query({ userId })}`, { signal: stop.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    let first = true;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      text += value;
      const parts = text.split('\n\n');
      text = parts.pop();
      for (const part of parts.filter((part) => part.startsWith('event: usage'))) {
        if (!first) changed();
        first = false;
      }
    }
  };
  read().catch(() => {}).finally(() => stop.signal.aborted || ended());
  return () => stop.abort();
}
