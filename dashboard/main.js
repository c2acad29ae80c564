// The shell: who is signed in, what is worked on, and which page is shown.

import { h, render } from './vendor/preact.js';
import { useEffect, useErrorBoundary, useRef, useState } from './vendor/hooks.js';
import * as api from './api.js';
import { Empty, ErrorBox, Heading, Loading, here, html, link, useLoad } from './ui.js';
import { SignIn } from './pages/sign_in.js';
import { Overview } from './pages/overview.js';
import { Reports } from './pages/reports.js';
import { Events } from './pages/events.js';
import { Explain } from './pages/explain.js';
import { Users } from './pages/users.js';
import { User } from './pages/user.js';
import { Plans } from './pages/plans.js';
import { Policies } from './pages/policies.js';
import { Approvals } from './pages/approvals.js';
import { Alerts } from './pages/alerts.js';
import { Webhooks } from './pages/webhooks.js';
import { Keys } from './pages/keys.js';
import { Audit } from './pages/audit.js';
import { AppSettings } from './pages/app.js';
import { Sandbox } from './pages/sandbox.js';
import { Start } from './pages/start.js';

/** Name in the menu, and the page for the names of the address that follow. */
const pages = {
  '': ['Overview', () => h(Overview)],
  users: ['Users', (id, query) => (id === undefined ? h(Users, { query }) : h(User, { id, key: id }))],
  reports: ['Reports', (_id, query) => h(Reports, { query, key: address })],
  events: ['Events', (_id, query) => h(Events, { query, key: address })],
  explain: ['Explain', (_id, query) => h(Explain, { query, key: address })],
  plans: ['Plans', (id, query) => h(Plans, { id, query })],
  policies: ['Policies', (id, query) => h(Policies, { id, query })],
  approvals: ['Approvals', (_id, query) => h(Approvals, { query })],
  alerts: ['Alerts', () => h(Alerts)],
  webhooks: ['Webhooks', (id, query) => h(Webhooks, { id, query })],
  keys: ['Keys', () => h(Keys)],
  audit: ['Audit', (_id, query) => h(Audit, { query, key: address })],
  app: ['App settings', () => h(AppSettings)],
  sandbox: ['Test clock', () => h(Sandbox)],
  start: ['First steps', () => h(Start)],
};

function useRedraw(subscribe) {
  const [, setRound] = useState(0);
  useEffect(() => subscribe(() => setRound((round) => round + 1)), []);
}

/** The address as it was last gone to; what a page has since written into it of its own filter is not in it. */
let address = location.hash;

const onMove = (redraw) => {
  const moved = () => {
    address = location.hash;
    redraw();
  };
  addEventListener('hashchange', moved);
  return () => removeEventListener('hashchange', moved);
};

/** `/` goes to the page's search, as everywhere. */
function onKey(event) {
  const typing = event.target.closest('input, textarea, select, dialog');
  /** @type {HTMLElement | null} */
  const search = document.querySelector('[data-search]');
  if (event.key === '/' && !typing && search && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
  }
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
    addEventListener('keydown', onKey);
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
  useEffect(() => {
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
      <${Side} first=${first} />
      <div>
        <${TestBanner} />
        <main id="main" ref=${main} key=${place}>
          <${Guard}>${page(rest[0], query)}<//>
        </main>
      </div>
    </div>`;
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
    ${frozen ? html` The clock stands at <time datetime=${frozen}>${frozen}</time>.` : ''} <a href=${link(['sandbox'])}>Test clock</a></p>`;
}

function Side({ first }) {
  return html`<header class="side">
    <div class="brand">quotagate</div>
    <nav aria-label="Pages">
      ${Object.entries(pages).map(([name, [title]]) => html`
        <a href=${name ? link([name]) : '#/'} aria-current=${name === first ? 'page' : undefined}>${title}</a>`)}
    </nav>
    <div class="foot">
      <${ModeSwitch} first=${first} />
      <${SignedIn} />
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
      <option value="live">Live</option>
      <option value="test">Test</option>
      ${others.map((other) => html`<option value=${other}>Test: ${other.slice('test/'.length)}</option>`)}
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

const Nothing = () => html`<${Heading} title="Nothing here" /><${Empty} title="This page does not exist"><a href="#/">To the overview</a><//>`;

const root = document.getElementById('root');
root.replaceChildren();
render(h(App), root);
