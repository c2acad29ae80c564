// The shell: who is signed in, what is worked on, and which page is shown.

import { h, render } from './vendor/preact.js';
import { useEffect, useErrorBoundary, useLayoutEffect, useRef, useState } from './vendor/hooks.js';
import * as api from './api.js';
import { ClockTime, Empty, ErrorBox, Heading, Loading, arrive, here, html, link, useLoad } from './ui.js';
import { Palette } from './palette.js';
import { SignIn } from './pages/sign_in.js';
import { Overview } from './pages/overview.js';
import { Start } from './pages/start.js';

/** Name in the menu, and the page for the names of the address that follow. */
const pages = {
  '': ['Overview', () => h(Overview)],
  users: ['Users', (id, query) => (id === undefined ? page('users', 'Users', { query }, address) : page('user', 'User', { id }, id))],
  reports: ['Reports', (_id, query) => page('reports', 'Reports', { query }, address)],
  events: ['Events', (_id, query) => page('events', 'Events', { query }, address)],
  explain: ['Explain', (_id, query) => page('explain', 'Explain', { query }, address)],
  estimates: ['Estimates', (_id, query) => page('estimates', 'Estimates', { query }, address)],
  plans: ['Plans', (id, query) => page('plans', 'Plans', { id, query })],
  policies: ['Policies', (id, query) => page('policies', 'Policies', { id, query })],
  approvals: ['Approvals', (_id, query) => page('approvals', 'Approvals', { query })],
  alerts: ['Alerts', (_id, query) => page('alerts', 'Alerts', { query }, address)],
  webhooks: ['Webhooks', (id, query) => page('webhooks', 'Webhooks', { id, query })],
  keys: ['Keys', () => page('keys', 'Keys')],
  audit: ['Audit', (_id, query) => page('audit', 'Audit', { query }, address)],
  app: ['App settings', () => page('app', 'AppSettings')],
  sandbox: ['Test clock', () => page('sandbox', 'Sandbox')],
  start: ['First steps', () => h(Start)],
};

/** The pages of the menu, as the search lists them. */
const menu = Object.entries(pages).map(([name, [title]]) => ({ text: title, href: name ? link([name]) : '#/' }));

/** What was read of `pages/`, by file. */
const files = new Map();

/** A page that is read when it is first gone to, so that the first paint needs only what it shows. `own`: what makes it another one. */
const page = (file, name, props = {}, own = '') => h(Page, { file, name, props, key: `${file} ${own}` });

function Page({ file, name, props }) {
  const [state, setState] = useState({ read: files.get(file) ?? null, failed: false });
  useEffect(() => {
    if (state.read) return;
    import(`./pages/${file}.js`).then(
      (read) => {
        files.set(file, read);
        setState({ read, failed: false });
      },
      () => setState({ read: null, failed: true }),
    );
  }, []);
  useLayoutEffect(() => {
    // The title was not there yet when the page was gone to.
    if (moved && state.read) document.querySelector('main')?.querySelector('h1')?.focus();
  }, [state.read]);
  // A browser does not ask again for what it could not read, and what it has may be of another version.
  if (state.failed) return html`<${Heading} title="Page not loaded" /><${ErrorBox} error=${new api.Problem(0, unread)} retry=${() => location.reload()} />`;
  return state.read ? h(state.read[name], props) : html`<${Loading} what="the page" />`;
}

const unread = { title: 'The page cannot be loaded', detail: 'The gateway cannot be reached, or it has a new version.' };

function useRedraw(subscribe) {
  const [, setRound] = useState(0);
  useEffect(() => subscribe(() => setRound((round) => round + 1)), []);
}

/** The address as it was last gone to; what a page has since written into it of its own filter is not in it. */
let address = location.hash;

/** Somebody has gone from one page to another. */
let moved = false;

const onMove = (redraw) => {
  const move = () => {
    moved = true;
    address = location.hash;
    arrive();
    redraw();
  };
  addEventListener('hashchange', move);
  return () => removeEventListener('hashchange', move);
};

/** An address may name the mode and the app that it is about, as that of a report does. */
function adopt() {
  const query = new URLSearchParams(address.split('?')[1] ?? '');
  const [mode, app] = [query.get('mode'), query.get('app')];
  if (app && api.isRoot() && app !== api.place.app) api.setApp(app);
  if (mode && /^(live|test(\/[\w.-]+)?)$/.test(mode) && mode !== api.place.mode) api.setMode(mode);
}

/** `/` goes to the page's own search, or to the search of everything, as does Ctrl or Cmd with K. */
const onKey = (search) => (event) => {
  if (!api.place.session || document.querySelector('dialog[open]')) return;
  const command = event.ctrlKey || event.metaKey;
  const everything = event.key.toLowerCase() === 'k' && command && !event.altKey && !event.shiftKey;
  const typing = event.target.closest?.('input, textarea, select');
  const here = event.key === '/' && !typing && !command && !event.altKey;
  if (!everything && !here) return;
  event.preventDefault();
  /** @type {HTMLElement | null} */
  const own = document.querySelector('[data-search]');
  if (here && own) own.focus();
  else search();
};

/** What had the focus may go with what was done. Then it is at the page's title, and not nowhere. */
function keepFocus() {
  /** @type {any} */
  let last = null;
  addEventListener('focusin', (event) => {
    last = event.target;
  });
  const look = () => {
    if (!last || last.isConnected || document.activeElement !== document.body) return;
    // The title may come a little later, with the page's file.
    const title = document.querySelector('main')?.querySelector('h1');
    if (!title) return;
    last = null;
    title.focus({ preventScroll: true });
  };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}

function App() {
  const [started, setStarted] = useState(false);
  const [error, setError] = useState(null);
  useRedraw(api.watch);
  useRedraw(onMove);
  const start = () => {
    setError(null);
    api.resume().then(() => setStarted(true), setError);
  };
  useEffect(() => {
    start();
    keepFocus();
  }, []);
  if (error) return html`<main class="door"><${ErrorBox} error=${error} retry=${start} /></main>`;
  if (!started) return html`<main class="door"><${Loading} what="the dashboard" /></main>`;
  if (!api.place.session) return html`<${SignIn} />`;
  return html`<${Shell} />`;
}

function Shell() {
  const { names, query } = here();
  const [first = '', ...rest] = names;
  const page = Object.hasOwn(pages, first) ? pages[first][1] : () => h(Nothing);
  const main = useRef(null);
  const place = `${api.place.app} ${api.place.mode} ${names.join('/')}`;
  const shown = useRef(place);
  const [searching, setSearching] = useState(false);
  useEffect(() => {
    const search = onKey(() => setSearching(true));
    addEventListener('keydown', search);
    return () => removeEventListener('keydown', search);
  }, []);
  useEffect(adopt, [address]);
  useEffect(() => {
    api.get('app').then(({ currency }) => api.setCurrency(currency ?? null), () => {});
  }, [api.place.app]);
  useLayoutEffect(() => {
    // A new page begins at its title, also for those who cannot see it.
    if (shown.current !== place) main.current?.querySelector('h1')?.focus();
    shown.current = place;
  }, [place]);
  const toMain = (event) => {
    event.preventDefault();
    main.current.querySelector('h1')?.focus();
  };
  return html`
    <a class="skip" href="#main" onClick=${toMain}>Skip to the content</a>
    <div class="shell">
      <${Side} first=${first} search=${() => setSearching(true)} />
      <div>
        <${TestBanner} />
        <main id="main" ref=${main} key=${place}>
          <${Guard}>${page(rest[0], query)}<//>
        </main>
      </div>
    </div>
    ${searching && html`<${Palette} pages=${menu} close=${() => setSearching(false)} />`}`;
}

/** Says that this is not live, and where the clock stands. */
function TestBanner() {
  const { mode, app, frozen } = api.place;
  const test = api.isTest();
  useEffect(() => {
    const here = (sandbox) => sandbox.mode === mode || sandbox.mode === `${mode}/main`;
    if (test) api.get('sandboxes').then(({ data }) => api.setFrozen(data.find(here)?.now ?? null), () => {});
  }, [mode, app]);
  if (!test) return null;
  return html`<p class="banner" role="status"><strong>Test mode</strong>, sandbox ${mode.split('/')[1] ?? 'main'}.
    ${frozen ? html` The clock is set to <${ClockTime} at=${frozen} />.` : ''} <a href=${link(['sandbox'])}>Test clock</a></p>`;
}

function Side({ first, search }) {
  const nav = useRef(null);
  const [open, setOpen] = useState(false);
  useEffect(() => {
    // Where the menu is a line that scrolls, the page that is shown is in sight in it.
    const current = nav.current.querySelector('[aria-current]');
    if (current) nav.current.scrollLeft = current.offsetLeft - (nav.current.clientWidth - current.offsetWidth) / 2;
  }, [first]);
  return html`<header class=${open ? 'side open' : 'side'}>
    <div class="brand">quotagate</div>
    <div class="row top">
      <button type="button" class="search" aria-keyshortcuts="Control+K Meta+K" onClick=${search}>Search <kbd>Ctrl K</kbd></button>
      <button type="button" class="narrow" aria-expanded=${open ? 'true' : 'false'} onClick=${() => setOpen(!open)}>Mode ${api.modeTitle(api.place.mode)}</button>
    </div>
    <nav aria-label="Pages" ref=${nav}>
      ${Object.entries(pages).map(([name, [title]]) => html`
        <a href=${name ? link([name]) : '#/'} aria-current=${name === first ? 'page' : undefined}>${title}</a>`)}
    </nav>
    <div class="foot">
      <${ModeSwitch} first=${first} />
      <${SignedIn} />
      <a href="docs">API reference</a>
    </div>
  </header>`;
}

function ModeSwitch({ first }) {
  const { mode, app, session } = api.place;
  // A key that was made meanwhile may have begun one.
  const sandboxes = useLoad((signal) => api.get('sandboxes', signal), [app, first]);
  // The one that is worked on is there also while the list is not.
  const others = [...new Set([...(sandboxes.data?.data ?? []).map((sandbox) => sandbox.mode), ...(mode.startsWith('test/') ? [mode] : [])])].filter((other) => other !== 'test/main');
  return html`
    ${session.app === null && html`<${AppSwitch} />`}
    <div>
    <label for="mode">Mode</label>
    <select id="mode" value=${mode === 'test/main' ? 'test' : mode} onChange=${(event) => api.setMode(event.target.value)}>
      ${['live', 'test', ...others].map((other) => html`<option value=${other}>${api.modeTitle(other)}</option>`)}
    </select>
  </div>`;
}

/** The root key works on every app. */
function AppSwitch() {
  const apps = useLoad((signal) => api.get('apps', signal), []);
  const names = apps.data?.data.map((app) => app.id) ?? [api.place.app];
  useEffect(() => {
    if (apps.data && !names.includes(api.place.app)) api.setApp('default');
  }, [apps.data]);
  return html`<div>
    <label for="app">App</label>
    <select id="app" value=${api.place.app} onChange=${(event) => api.setApp(event.target.value)}>${names.map((name) => html`<option value=${name}>${name}</option>`)}</select>
  </div>`;
}

function SignedIn() {
  const { session } = api.place;
  const [error, setError] = useState(null);
  return html`<div>
    <p class="quiet">${session.name ?? session.keyId} · ${session.role}</p>
    <${ErrorBox} error=${error} />
    <button type="button" onClick=${() => api.signOut().catch(setError)}>Sign out</button>
  </div>`;
}

/** A page that fails takes only itself along. */
function Guard({ children }) {
  const [error, again] = useErrorBoundary((error) => console.error(error));
  return error ? html`<${ErrorBox} error=${error} retry=${again} />` : children;
}

const Nothing = () => html`<${Heading} title="Page not found" /><${Empty} title="This page does not exist"><a href="#/">Go to the overview</a><//>`;

const root = document.getElementById('root');
root.replaceChildren();
render(h(App), root);
