// The only file that speaks to the API: session, mode, app, and one function for every call.

/** What the page works on. Kept by the browser, so that a page that is loaded again is where it was. */
export const place = {
  mode: kept('mode') ?? 'live',
  app: kept('app') ?? 'default',
  /** Who is signed in: the answer of `session`, or null. */
  session: null,
  /** Somebody was signed in on this page, and is no longer by somebody else's doing. */
  ended: false,
  /** @type {string | null} how the app writes cents: ISO 4217; null as cents */
  currency: null,
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

function notify() {
  for (const watcher of watchers) watcher();
}

export function setMode(mode) {
  place.mode = mode;
  place.frozen = null;
  keep('mode', mode);
  notify();
}

export function setApp(app) {
  place.app = app;
  keep('app', app);
  notify();
}

export function setFrozen(now) {
  if (place.frozen === now) return;
  place.frozen = now;
  notify();
}

export function setCurrency(currency) {
  if (place.currency === currency) return;
  place.currency = currency;
  notify();
}

export const isTest = () => place.mode !== 'live';

/** A mode as the menu names it: "Live", "Test" or "Test: ci". */
export const modeTitle = (mode) => {
  const [kind, sandbox = 'main'] = mode.split('/');
  return kind === 'live' ? 'Live' : sandbox === 'main' ? 'Test' : `Test: ${sandbox}`;
};

/** The data that is worked on: "live mode" or "the sandbox main". */
export const placeWords = () => (isTest() ? `the sandbox ${place.mode.split('/')[1] ?? 'main'}` : 'live mode');

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
    this.retryAfterS = 1;
    this.decision = body.decision ?? null;
  }
}

function headersFor(method, given) {
  const headers = { ...given };
  if (place.session) {
    headers['X-Mode'] ??= place.mode;
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

/** A query string without what is empty; a list is there once for each of its values. */
export function query(values) {
  const all = Object.entries(values).flatMap(([name, value]) => (Array.isArray(value) ? value.map((one) => [name, one]) : [[name, value]]));
  const set = all.filter(([, value]) => value !== undefined && value !== null && value !== '');
  return set.length ? `?${new URLSearchParams(set)}` : '';
}

/**
 * @param {string} method
 * @param {string} where
 * @param {{body?: any, headers?: object, signal?: AbortSignal}} given
 */
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
    place.ended ||= place.session !== null;
    place.session = null;
    notify();
  }
  problem.retryAfterS = Number(response.headers.get('Retry-After') ?? 1);
  throw problem;
}

/** How often a read is repeated that was one too many at once for its key. */
const MOST_REPETITIONS = 5;

async function read(where, signal, headers) {
  for (let repetition = 0; ; repetition += 1) {
    try {
      return await request('GET', where, { signal, headers });
    } catch (problem) {
      if (problem.code !== 'too_many_reads' || repetition === MOST_REPETITIONS) throw problem;
      await new Promise((done) => setTimeout(done, problem.retryAfterS * 1000));
      signal?.throwIfAborted();
    }
  }
}

async function json(response) {
  return response.status === 204 ? null : response.json();
}

/** @returns {Promise<any>} the answer's JSON */
export const get = async (where, signal, headers) => json(await read(where, signal, headers));
export const send = async (method, where, body, headers, signal) => json(await request(method, where, { body, headers, signal }));

/** For a write that is meant for one version only. */
export const ifMatch = (version) => (version ? { 'If-Match': `"${version}"` } : {});

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
    notify();
  }
}

export async function signIn(key) {
  place.session = await send('POST', 'session', { key });
  place.ended = false;
  notify();
}

export async function signOut() {
  try {
    await send('DELETE', 'session');
  } catch (problem) {
    if (problem.status !== 401) throw problem;
  }
  place.session = null;
  notify();
}

/** The API document of the node. */
export async function openapi(signal) {
  const response = await fetch('openapi.json', { signal });
  if (response.ok) return response.json();
  throw new Problem(response.status, {});
}

/** Recorded requests and answers, by operation. */
export async function examples(signal) {
  const response = await fetch('assets/examples.json', { signal });
  return response.ok ? response.json() : {};
}

/** Sends a call with a key of its own, without the session. Answers status and text. */
export async function tryCall(method, path, key, body) {
  const headers = { Authorization: `Bearer ${key}`, ...(body ? { 'Content-Type': 'application/json' } : {}) };
  const response = await fetch(path.replace(/^\//, ''), { method, headers, body: body || undefined, credentials: 'omit' });
  return { status: response.status, text: await response.text() };
}

/** How the node is: ready or not, and its warnings. Not being ready is an answer, too. */
export async function readiness(signal) {
  const response = await fetch('readyz', { signal });
  if (response.ok || response.status === 503) return response.json();
  throw new Problem(response.status, {});
}

/** Saves an answer as a file. A plain link could not say of which mode and app it is to be. */
export async function download(where, name) {
  const file = URL.createObjectURL(await (await read(where)).blob());
  const anchor = document.createElement('a');
  anchor.href = file;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(file), 60_000);
}

/** One block of server-sent events: what it is, its id, and its data. */
function parse(block) {
  const fields = block.split('\n').map((line) => line.split(/: ?(.*)/s));
  const value = (name) => fields.filter(([field]) => field === name).map(([, value]) => value).join('\n');
  return { event: value('event'), id: value('id'), data: value('data') };
}

/**
 * Reads a stream of server-sent events until it breaks: `started` is called once it is open, `ended` with what was against
 * it, if it could not be opened. Answers what stops it.
 * @param {string} where
 * @param {object} headers
 * @param {{started?: () => void, received: (block: {event: string, id: string, data: string}) => void, ended: (problem?: Problem) => void}} calls
 */
function stream(where, headers, { started, received, ended }) {
  const stop = new AbortController();
  const read = async () => {
    const response = await request('GET', where, { signal: stop.signal, headers });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    started?.();
    let text = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      text += value;
      const blocks = text.split('\n\n');
      text = blocks.pop();
      for (const block of blocks) received(parse(block));
    }
  };
  const end = (problem) => {
    if (!stop.signal.aborted) ended(problem);
  };
  read().then(() => end(), end);
  return () => stop.abort();
}

/**
 * Follows a user's counters. `changed` is called for each state after the first. Answers what stops it.
 * @param {string} userId
 * @param {() => void} changed
 * @param {{started?: () => void, ended: (problem?: Problem) => void}} calls
 */
export function follow(userId, changed, { started, ended }) {
  let first = true;
  const received = ({ event }) => {
    if (event !== 'usage') return;
    if (!first) changed();
    first = false;
  };
  return stream(`usage/stream${query({ userId })}`, {}, { started, received, ended });
}

/**
 * Follows events, from behind `last` if that is given: `received` is called with each, and with the id to go on behind.
 * @param {object} filter
 * @param {string} last
 * @param {{started?: () => void, received: (event: any, id: string) => void, ended: (problem?: Problem) => void}} calls
 */
export function followEvents(filter, last, { started, received, ended }) {
  const receive = ({ id, data }) => received(data ? JSON.parse(data) : null, id);
  return stream(`events/stream${query(filter)}`, last ? { 'Last-Event-ID': last } : {}, { started, received: receive, ended });
}
