// From no plan to the first reserve.

import * as api from '../api.js';
import { Badge, Copy, ErrorBox, Heading, Loaded, Secret, html, link, useLoad, useWrite } from '../ui.js';
import { useEffect, useState } from '../vendor/hooks.js';

const user = 'u_1';
const plan = {
  name: 'Free',
  periodType: 'monthly',
  periodAnchor: 'subscription_start',
  groups: [{ id: 'calls', label: 'Calls', unit: 'count', quota: 20, matches: [{ event: '*' }] }],
};

/** Where this page came from is where the API is. */
const base = () => new URL('api/v1/', document.baseURI).href;

const quoted = (body) => `'${JSON.stringify(body).replaceAll("'", "'\\''")}'`;

const curl = (method, path, key, body) => `curl -X ${method} ${base()}${path} \\
  -H 'Authorization: Bearer ${key}' \\
  -H 'Content-Type: application/json' \\
  -d ${quoted(body)}`;

const Snippet = ({ text }) => html`<div><pre>${text}</pre><div class="row"><${Copy} text=${text} /></div></div>`;

const Done = ({ when, children }) => (when ? html`<${Badge} kind="good">done<//>` : children);

/**
 * Polls until the first call is committed. `seen`: something is held or used; `open`: the reservation that waits for its
 * commit.
 */
function useFirstCall(waiting, mode) {
  const [found, setFound] = useState({ seen: false, committed: false, open: null });
  useEffect(() => {
    if (!waiting || found.committed) return undefined;
    const timer = setInterval(async () => {
      const state = await api.get(api.path('users', user), undefined, { 'X-Mode': mode }).catch(() => null);
      if (!state) return;
      const committed = state.counters.some((counter) => counter.used > 0);
      const open = state.openReservations[0]?.reservationId ?? null;
      setFound((found) => ({ seen: found.seen || committed || open !== null, committed, open: open ?? found.open }));
    }, 1500);
    return () => clearInterval(timer);
  }, [waiting, found.committed]);
  return found;
}

function Arrived({ found, mode }) {
  const page = html`<a href=${link(['users', user], { mode })}>${user}</a>`;
  if (found.committed) return html`Committed: see what ${page} has used. <a href=${link(['events'], { mode })}>Events</a> lists all calls.`;
  if (found.seen) return html`The call has arrived and holds quota of ${page}. The second command has its ID now. Run it within a minute, or the reservation expires.`;
  return 'Waiting for the first call…';
}

export function Start() {
  const plans = useLoad((signal) => api.get('plans', signal), [api.place.app]);
  const [key, setKey] = useState(null);
  const { busy, error, write } = useWrite();
  const first = plans.data?.data[0];
  // The first calls are no business of live data.
  const mode = api.isTest() ? api.place.mode : 'test';
  const found = useFirstCall(key !== null, mode);
  const makePlan = async () => (await write('PUT', 'plans/free', plan)) && plans.reload();
  const makeKey = async () => {
    const created = await write('POST', 'keys', { kind: 'secret', mode: 'test', sandbox: mode.split('/')[1], name: 'first steps' });
    if (created && (await write('POST', 'subscriptions', { userId: user, planId: first.id }, { 'X-Mode': mode }))) setKey(created.key);
  };
  const event = first?.groups[0]?.matches[0]?.event?.replaceAll('*', 'example') ?? 'example';
  const admin = api.may('admin');
  return html`
    <${Heading} title="First steps" />
    <p>Your application asks before it spends (<code>reserve</code>), and reports afterwards what it spent (<code>commit</code>). The key below is a test key, so your live data stays empty.</p>
    <${ErrorBox} error=${error} />
    <${Loaded} of=${plans} what="plans">${() => html`<ol class="steps">
      <li><h2>Create a plan <${Done} when=${first} /></h2>
        <p>A plan is a set of limits: how much of each event a user may use. ${first ? html`You have <a href=${link(['plans', first.id])}>${first.id}</a>.` : 'This one allows 20 calls a month:'}</p>
        ${!first && html`<${Snippet} text=${JSON.stringify(plan, null, 2)} />${admin && html`<div class="row"><button type="button" class="primary" disabled=${busy} onClick=${makePlan}>Create this plan</button></div>`}`}
      </li>
      <li><h2>Create a key and a user <${Done} when=${key} /></h2>
        <p>Your back end calls with a secret key. This button creates a test key, and puts the user <code>${user}</code> on the plan.</p>
        ${key ? html`<${Secret} title="The test key." text=${key} />` : admin && html`<div class="row"><button type="button" class=${first ? 'primary' : ''} disabled=${busy || !first} onClick=${makeKey}>Create a key and the user</button></div>`}
      </li>
      <li><h2>Make the first call <${Done} when=${found.seen} /></h2>
        <p>Run the first command before the work: it reserves and returns a <code>reservationId</code>. Run the second one after the work: it commits with that ID. A reservation without a commit expires after a minute, and what it held is free again.</p>
        ${first && html`<${Snippet} text=${curl('POST', 'reserve', key ?? 'sk_test_…', { userId: user, event })} />
          <${Snippet} text=${curl('POST', 'commit', key ?? 'sk_test_…', { reservationId: found.open ?? 'rsv_…' })} />`}
        ${key && html`<p role="status"><${Arrived} found=${found} mode=${mode} /></p>`}
      </li>
    </ol>
    <p>All calls with their fields are in the <a href="docs">API reference</a>.</p>`}<//>`;
}
