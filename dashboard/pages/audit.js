import * as api from '../api.js';
import { By } from '../by.js';
import { Elsewhere, Empty, Heading, Loaded, More, Table, Time, html, keepFilter, link, usePages, useSettled } from '../ui.js';
import { useEffect, useState } from '../vendor/hooks.js';

const fields = [
  ['actor', 'Key', 'root, key_…'],
  ['action', 'Action', 'plan. or plan.put'],
  ['target', 'Target', 'user:u_42'],
];

const json = (value) => (value === null || value === undefined ? html`<span class="quiet">nothing</span>` : html`<pre>${typeof value === 'string' ? value : JSON.stringify(value, null, 2)}</pre>`);

/** Where what was changed is to be seen. */
const places = { user: 'users', plan: 'plans', policy: 'policies', webhook: 'webhooks' };

function Target({ target }) {
  const [kind, ...rest] = target.split(':');
  const id = rest.join(':');
  const name = html`<bdi class="name">${id}</bdi>`;
  if (!id) return html`<bdi class="name">${target}</bdi>`;
  return html`<span class="quiet">${kind}</span> ${Object.hasOwn(places, kind) ? html`<a href=${link([places[kind], id])}>${name}</a>` : name}`;
}

export function Audit({ query }) {
  const [typed, setTyped] = useState({ actor: query.actor ?? '', action: query.action ?? '', target: query.target ?? '' });
  const filter = useSettled(typed, 250);
  useEffect(() => keepFilter(filter), [filter]);
  const pages = usePages('audit', filter);
  const filtered = fields.some(([name]) => filter[name]);
  const empty = html`<${Empty} title=${filtered ? 'No change matches' : `No changes in ${api.placeWords()} yet`}><p>This page lists every change of configuration, keys and users, with who made it.</p>
    ${filtered && html`<p>Enter a key’s ID or <code>root</code>, the beginning of an action such as <code>plan.</code>, and a whole target such as <code>user:u_42</code>. User IDs are case-sensitive.</p>`}<${Elsewhere} /><//>`;
  return html`
    <${Heading} title="Audit" />
    <div class="filter">${fields.map(([name, title, example]) => html`<div class="field"><label for=${`audit-${name}`}>${title}</label>
      <input id=${`audit-${name}`} type="search" placeholder=${example} value=${typed[name]} onInput=${(event) => setTyped({ ...typed, [name]: event.target.value })} /></div>`)}</div>
    <${Loaded} of=${pages} what="changes" empty=${empty}>
      <${Table} label="Changes">
        <thead><tr><th>When</th><th>Key</th><th>Action</th><th>Target</th><th>Note</th><th>Change</th></tr></thead>
        <tbody>${pages.data.map((entry) => html`<tr key=${entry.id}>
          <td><${Time} at=${entry.at} real /></td>
          <td class="lead"><${By} id=${entry.actor} /></td>
          <td>${entry.action}</td>
          <td><${Target} target=${entry.target} /></td>
          <td>${entry.note && html`<bdi>${entry.note}</bdi>`}</td>
          <td class="full"><details><summary>Before and after</summary><div><strong>Before</strong> ${json(entry.before)}</div><div><strong>After</strong> ${json(entry.after)}</div></details></td>
        </tr>`)}</tbody>
      <//>
      <${More} pages=${pages} />
    <//>`;
}
