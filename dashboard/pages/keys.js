import * as api from '../api.js';
import { dayName } from '../chart.js';
import { Badge, Confirm, Copy, Dialog, Empty, Field, Heading, Loaded, Secret, Table, Time, html, pairs, plural, useDialog, useLoad, useWrite } from '../ui.js';
import { useState } from '../vendor/hooks.js';

const kinds = {
  secret: 'Secret (sk_): for your back end',
  publishable: 'Publishable (pk_): for browsers, reads usage and plans',
  admin: 'Admin (ak_): for people, configuration and this dashboard',
};

const words = (text) => text.split(/[\s,]+/).filter(Boolean);

function body({ kind, name, mode, sandbox, role, metadata, origins, token }) {
  const common = { kind, name: name.trim() || undefined };
  if (kind === 'admin') return { ...common, role };
  const where = { ...common, mode, sandbox: mode === 'test' && sandbox.trim() ? sandbox.trim() : undefined };
  if (kind === 'secret') return { ...where, metadata: pairs(metadata) };
  return { ...where, origins: words(origins), requireUserToken: token };
}

function NewKey({ close, done }) {
  const [given, setGiven] = useState({ kind: 'secret', name: '', mode: api.isTest() ? 'test' : 'live', sandbox: '', role: 'viewer', metadata: '', origins: '', token: true });
  const { busy, error, write } = useWrite();
  const set = (name) => (event) => setGiven({ ...given, [name]: event.target.type === 'checkbox' ? event.target.checked : event.target.value });
  const submit = async () => {
    const key = await write('POST', 'keys', body(given));
    if (key) done(key);
    return key !== null;
  };
  return html`<${Dialog} title="New key" action="Create" busy=${busy} error=${error} submit=${submit} close=${close}>
    <${Field} label="Kind"><select name="kind" value=${given.kind} onChange=${set('kind')}>${Object.entries(kinds).map(([kind, title]) => html`<option value=${kind}>${title}</option>`)}</select><//>
    <${Field} label="Name" hint="Where it is used."><input name="name" maxlength="256" value=${given.name} onInput=${set('name')} /><//>
    ${given.kind !== 'admin' && html`<${Field} label="Mode"><select name="mode" value=${given.mode} onChange=${set('mode')}><option value="live">live</option><option value="test">test</option></select><//>`}
    ${given.kind !== 'admin' && given.mode === 'test' && html`<${Field} label="Sandbox" hint="It has its own data and clock. Default: main."><input name="sandbox" value=${given.sandbox} onInput=${set('sandbox')} /><//>`}
    ${given.kind === 'admin' && html`<${Field} label="Role"><select name="role" value=${given.role} onChange=${set('role')}>
      <option value="viewer">viewer: reads</option><option value="support">support: users, grants, blocks</option>
      <option value="approver">approver: also approvals</option><option value="admin">admin: everything</option></select><//>`}
    ${given.kind === 'secret' && html`<${Field} label="Metadata" hint="team=red, environment=production. It overrides the metadata of calls."><input name="metadata" value=${given.metadata} onInput=${set('metadata')} /><//>`}
    ${given.kind === 'publishable' && html`
      <${Field} label="Origins" hint="https://app.example.com. Pages of other origins cannot use the key."><input name="origins" value=${given.origins} onInput=${set('origins')} /><//>
      ${words(given.origins).length === 0 && html`<p class="warning" role="status">Without an origin no browser can use this key: every call fails its CORS check.</p>`}
      <label class="check"><input type="checkbox" checked=${given.token} onChange=${set('token')} /> Reading usage needs the user’s token, so that no end user can read the usage of another</label>`}
  <//>`;
}

/** A key of the app's back end: which sandbox or mode it calls in. */
const modeOf = (key) => (key.mode === 'test' ? `test/${key.sandbox ?? 'main'}` : 'live');

/** Whether somebody still calls with it: of its own mode, whichever is looked at. */
function LastUse({ listed }) {
  const used = useLoad((signal) => api.get(`reports/usage${api.query({ keyId: listed.id, period: 'day' })}`, signal, { 'X-Mode': modeOf(listed) }), []);
  if (!used.data) return html`<${Loaded} of=${used} what="what it was used for" />`;
  const sum = (name) => used.data.data.reduce((sum, line) => sum + line[name], 0);
  const days = used.data.data.filter((line) => line.calls + line.denials + line.expiries > 0);
  if (days.length === 0) return html`<p>No call used this key in the last 30 days.</p>`;
  return html`<p>In the last 30 days <strong>${plural(sum('calls'), 'call')}</strong>${sum('denials') > 0 ? ` and ${plural(sum('denials'), 'denial')}` : ''} used this key, the last on ${dayName(days.at(-1).start)}. Calls with it will fail with 401.</p>`;
}

function Revoke({ listed, close, done }) {
  const run = async (write) => {
    const gone = await write('DELETE', api.path('keys', listed.id));
    if (gone) done();
    return gone;
  };
  const about = html`<p><code>${listed.prefix}</code> ${listed.name && html`<bdi><strong>${listed.name}</strong></bdi>`} stops working on every node within a second. This cannot be undone.
    ${listed.id === api.place.session?.keyId && html`<strong> You are signed in with it: you will be signed out.</strong>`}</p>
    ${listed.kind === 'secret' && html`<${LastUse} listed=${listed} />`}
    ${listed.kind === 'publishable' && html`<p>Pages that read usage with it will get 401.</p>`}
    ${listed.kind === 'admin' && html`<p>Everyone who signed in with it is signed out.</p>`}`;
  return html`<${Confirm} title="Revoke this key?" about=${about} action="Revoke" danger note=${false} run=${run} close=${close} />`;
}

export function Keys() {
  const keys = useLoad((signal) => api.get('keys', signal), []);
  const [created, setCreated] = useState(null);
  const dialog = useDialog();
  const admin = api.may('admin');
  const done = (key) => {
    setCreated(key);
    keys.reload();
  };
  const empty = html`<${Empty} title="No keys yet"><p>Your application needs a secret key to make its first call.${admin && ' “New key” creates one.'}</p><//>`;
  return html`
    <${Heading} title="Keys">${admin && html`<button type="button" class="primary" onClick=${() => dialog.show('new')}>New key</button>`}<//>
    ${created?.key && html`<${Secret} title=${`The ${created.kind} key.`} text=${created.key} />`}
    ${created?.userTokenSecret && html`<${Secret} title="The secret for user tokens." text=${created.userTokenSecret} />`}
    <${Loaded} of=${keys} what="keys" empty=${empty}>${() => html`<${Table} label="Keys">
      <thead><tr><th>Key</th><th>Name</th><th>Kind</th><th>Mode</th><th>Settings</th><th>Created</th><td></td></tr></thead>
      <tbody>${keys.data.data.map((key) => html`<tr key=${key.id}>
        <td><code>${key.prefix}</code><div class="quiet"><span class="named"><code>${key.id}</code><${Copy} text=${key.id} label=${`Copy ${key.id}`} small /></span></div></td>
        <td>${key.name && html`<bdi>${key.name}</bdi>`}</td>
        <td>${key.kind}${key.role && ` · ${key.role}`}</td>
        <td>${key.mode ? html`<${Badge} kind=${key.mode === 'test' ? 'warn' : ''}>${key.mode}${key.sandbox ? `/${key.sandbox}` : ''}<//>` : 'live and test'}</td>
        <td>${Object.entries(key.metadata ?? {}).map(([name, value]) => html`<div>${name}=<bdi>${value}</bdi></div>`)}${(key.origins ?? []).map((origin) => html`<div>${origin}</div>`)}${key.kind === 'publishable' && !key.origins?.length && html`<${Badge} kind="warn">no origins<//>`}${key.requireUserToken && html`<div>needs a user token</div>`}</td>
        <td><${Time} at=${key.createdAt} real /></td>
        <td class="end">${admin && html`<button type="button" class="danger" aria-label=${`Revoke ${key.name ?? key.prefix}`} onClick=${() => dialog.show('revoke', key)}>Revoke</button>`}</td>
      </tr>`)}</tbody>
    <//>`}<//>
    ${dialog.open?.name === 'new' && html`<${NewKey} close=${dialog.close} done=${done} />`}
    ${dialog.open?.name === 'revoke' && html`<${Revoke} listed=${dialog.open.about} close=${dialog.close} done=${keys.reload} />`}`;
}
