import * as api from '../api.js';
import { Badge, Confirm, Dialog, Empty, ErrorBox, Field, Heading, Loaded, More, Name, Secret, Table, Time, go, html, link, number, plural, useDialog, useFresh, useLoad, usePages, useWrite } from '../ui.js';
import { useState } from '../vendor/hooks.js';

const events = ['threshold.reached', 'limit.reached', 'credits.low', 'approval.requested', 'approval.decided', 'subscription.changed', 'reservation.expired'];

/** Creates or changes one; a new one's secret is handed to `done`. */
function EditDialog({ webhook, close, done }) {
  const [id, setId] = useState(webhook?.id ?? '');
  const [url, setUrl] = useState(webhook?.url ?? '');
  const [chosen, setChosen] = useState(new Set(webhook?.events ?? ['limit.reached']));
  const [filter, setFilter] = useState(webhook?.filter ? JSON.stringify(webhook.filter) : '');
  const [template, setTemplate] = useState(webhook?.template ?? '');
  const [modes, setModes] = useState((webhook?.modes ?? ['live']).join(', '));
  const [fault, setFault] = useState(null);
  const { busy, error, write } = useWrite();
  const toggle = (event) => (change) => {
    const next = new Set(chosen);
    if (change.target.checked) next.add(event);
    else next.delete(event);
    setChosen(next);
  };
  const submit = async () => {
    let parsed;
    try {
      parsed = filter.trim() ? JSON.parse(filter) : undefined;
      setFault(null);
    } catch (error) {
      setFault({ title: 'The filter is not JSON', message: error.message });
      return false;
    }
    const body = { url, events: events.filter((event) => chosen.has(event)), modes: words(modes), filter: parsed, template: template || undefined };
    const saved = await write('PUT', api.path('webhooks', id), body, api.ifMatch(webhook?.version));
    if (saved) done(saved);
    return saved !== null;
  };
  return html`<${Dialog} title=${webhook ? `Change ${webhook.id}` : 'New webhook'} action=${webhook ? 'Save' : 'Create'} busy=${busy} error=${fault ?? error} submit=${submit} close=${close}>
    ${!webhook && html`<${Field} label="Id" hint="Letters, digits, _ and -."><input name="id" required value=${id} onInput=${(event) => setId(event.target.value)} /><//>`}
    <${Field} label="URL"><input name="url" type="url" required value=${url} onInput=${(event) => setUrl(event.target.value)} /><//>
    <fieldset><legend>Events</legend>${events.map((event) => html`<label class="check"><input type="checkbox" name=${event} checked=${chosen.has(event)} onChange=${toggle(event)} /> ${event}</label>`)}</fieldset>
    <${Field} label="Modes" hint="live, test (every sandbox) or test/<sandbox>, separated by commas."><input name="modes" required value=${modes} onInput=${(event) => setModes(event.target.value)} /><//>
    <${Field} label="Filter (JSON)" hint=${'Only what matches, such as {"owners": ["platform"]}. Empty: everything.'}><input name="filter" value=${filter} onInput=${(event) => setFilter(event.target.value)} /><//>
    <${Field} label="Text" hint="For chats: {event}, {group}, {percent}, {used}, {held}, {quota}, {limit}, {unit}, {scope}, {owner}, {policy}, {resetsAt}, {user}, {requested}, {status}."><input name="template" value=${template} onInput=${(event) => setTemplate(event.target.value)} /><//>
  <//>`;
}

/** How its newest deliveries went, in this mode. */
function Health({ id, health }) {
  const { attempted, failed, dead, last } = health;
  if (!last) return html`<span class="quiet">no delivery yet</span>`;
  const result = last.error ?? `HTTP ${last.responseStatus}`;
  return html`<div><${Badge} kind=${last.error ? 'bad result' : 'good'}>${result}<//> <${Time} at=${last.at} real /></div>
    <div class="quiet">${failed === 0 ? `${plural(attempted, 'delivery', 'deliveries')}, none failed` : html`<strong class="warning">${number(failed)} of ${number(attempted)} failed</strong> (${percent(failed, attempted)})`}</div>
    ${dead > 0 && html`<a href=${link(['webhooks', id], { status: 'dead' })}><${Badge} kind="bad">${plural(dead, 'dead letter')}<//></a>`}`;
}

const percent = (part, whole) => `${Math.round((part / whole) * 100)} %`;

const words = (text) => text.split(',').map((word) => word.trim()).filter(Boolean);

function List() {
  const webhooks = useLoad((signal) => api.get('webhooks', signal), [api.place.mode, api.place.app]);
  useFresh(webhooks);
  const [created, setCreated] = useState(null);
  const dialog = useDialog();
  const done = (saved) => {
    setCreated(saved);
    webhooks.reload();
  };
  const empty = html`<${Empty} title="No webhooks yet"><p>A webhook sends crossed thresholds, reached limits, approvals and expiries to another system. Deliveries are signed and retried for 24 hours.</p>
    ${api.may('admin') && html`<p>“New webhook” adds one.</p>`}<//>`;
  return html`
    <${Heading} title="Webhooks">${api.may('admin') && html`<button type="button" class="primary" onClick=${() => dialog.show('new')}>New webhook</button>`}<//>
    ${created?.secret && html`<${Secret} title=${`The signing secret of ${created.id}.`} text=${created.secret} />`}
    <${Loaded} of=${webhooks} what="webhooks" empty=${empty}>${() => html`<${Table} label="Webhooks">
      <thead><tr><th>Webhook</th><th>URL</th><th>Events</th><th>Last delivery</th><th>Created</th></tr></thead>
      <tbody>${webhooks.data.data.map((webhook) => html`<tr key=${webhook.id}>
        <td><${Name} text=${webhook.id} href=${link(['webhooks', webhook.id])} /></td>
        <td><bdi class="url">${webhook.url}</bdi></td>
        <td>${webhook.events.map((event) => html`<span class="part">${event}</span> `)}<div class="quiet">${webhook.modes.join(', ')}</div></td>
        <td><${Health} id=${webhook.id} health=${webhook.deliveries} /></td>
        <td><${Time} at=${webhook.createdAt} real /></td>
      </tr>`)}</tbody>
    <//>`}<//>
    ${dialog.open && html`<${EditDialog} close=${dialog.close} done=${done} />`}`;
}

const kinds = { delivered: 'good', dead: 'bad', pending: 'warn' };

function Deliveries({ id, query }) {
  const status = query.status ?? '';
  const where = `${api.path('webhooks', id)}/deliveries`;
  const pages = usePages(where, { status });
  useFresh(pages);
  const { busy, error, write } = useWrite();
  const resend = async (delivery) => (await write('POST', `${where}/${api.path(delivery.id)}/resend`)) && pages.reload();
  const kind = status === 'dead' ? 'dead letters' : `${status} deliveries`.trim();
  const empty = html`<p class="quiet">No ${kind} in ${api.placeWords()}${status ? '' : ' yet'}.</p>`;
  return html`<h2>Deliveries</h2>
    <nav class="tabs" aria-label="Which deliveries">${[['', 'All'], ['pending', 'Pending'], ['delivered', 'Delivered'], ['dead', 'Dead letters']].map(([name, title]) => html`
      <a href=${link(['webhooks', id], { status: name })} aria-current=${name === status ? 'page' : undefined}>${title}</a>`)}</nav>
    <${ErrorBox} error=${error} />
    <${Loaded} of=${pages} what="deliveries" empty=${empty}>
      <${Table} label="Deliveries">
        <thead><tr><th>Message</th><th>State</th><th class="figure">Attempts</th><th>Last response</th><th>Next attempt</th><td></td></tr></thead>
        <tbody>${pages.data.map((delivery) => html`<tr key=${delivery.id}>
          <td class="message"><${Name} text=${delivery.id} /><details><summary>Payload of ${delivery.event}</summary><pre>${JSON.stringify(delivery.payload, null, 2)}</pre></details></td>
          <td><${Badge} kind=${kinds[delivery.status]}>${delivery.status === 'dead' ? 'dead letter' : delivery.status}<//></td>
          <td class="figure">${delivery.attempts}</td>
          <td><bdi>${delivery.error ?? (delivery.responseStatus ? `HTTP ${delivery.responseStatus}` : '')}</bdi><div class="quiet"><${Time} at=${delivery.lastAttemptAt} never="none yet" real /></div></td>
          <td><${Time} at=${delivery.nextAttemptAt} never="none" real /></td>
          <td class="end">${api.may('admin') && html`<button type="button" disabled=${busy} onClick=${() => resend(delivery)}>Send again</button>`}</td>
        </tr>`)}</tbody>
      <//>
      <${More} pages=${pages} />
    <//>`;
}

function Webhook({ id, query }) {
  const loaded = useLoad((signal) => api.get(api.path('webhooks', id), signal), [id]);
  const [secret, setSecret] = useState(null);
  const dialog = useDialog();
  const webhook = loaded.data;
  const rotate = async (write) => {
    const rotated = await write('POST', `${api.path('webhooks', id)}/rotate-secret`);
    if (rotated) setSecret(rotated.secret);
    return rotated;
  };
  return html`
    <${Heading} name=${id}>${webhook && api.may('admin') && html`
      <button type="button" onClick=${() => dialog.show('edit')}>Change</button>
      <button type="button" onClick=${() => dialog.show('rotate')}>Rotate the secret</button>
      <button type="button" class="danger" onClick=${() => dialog.show('delete')}>Delete</button>`}<//>
    ${secret && html`<${Secret} title="The new signing secret." text=${secret} />`}
    <${Loaded} of=${loaded} what="the webhook">${() => html`<dl class="facts">
      <dt>URL</dt><dd><bdi>${webhook.url}</bdi></dd>
      <dt>Events</dt><dd>${webhook.events.join(', ')}</dd>
      <dt>Modes</dt><dd>${webhook.modes.join(', ')}</dd>
      ${webhook.filter && html`<dt>Filter</dt><dd><code>${JSON.stringify(webhook.filter)}</code></dd>`}
      ${webhook.template && html`<dt>Text</dt><dd><bdi>${webhook.template}</bdi></dd>`}
    </dl>
    <${Deliveries} id=${id} query=${query} />`}<//>
    ${dialog.open?.name === 'edit' && html`<${EditDialog} webhook=${webhook} close=${dialog.close} done=${loaded.reload} />`}
    ${dialog.open?.name === 'rotate' && html`<${Confirm} title="Rotate the secret?" action="Rotate" note=${false} run=${rotate} close=${dialog.close}
      about=${html`<p>A new secret signs from now on. The present secret also signs for 24 hours, so that the receiver can change over.</p>`} />`}
    ${dialog.open?.name === 'delete' && html`<${Delete} webhook=${webhook} close=${dialog.close} />`}`;
}

/** Deliveries that wait for an attempt. */
function Waiting({ webhook }) {
  const waiting = useLoad((signal) => api.get(`${api.path('webhooks', webhook.id)}/deliveries${api.query({ status: 'pending', limit: 200 })}`, signal), []);
  if (!waiting.data) return html`<${Loaded} of=${waiting} what="what waits" />`;
  const { data, nextCursor } = waiting.data;
  if (data.length === 0) return html`<p>No delivery is waiting.</p>`;
  return html`<p><strong>${nextCursor ? 'More than ' : ''}${plural(data.length, 'delivery', 'deliveries')}</strong> ${data.length === 1 && !nextCursor ? 'waits' : 'wait'} for another attempt and ${data.length === 1 && !nextCursor ? 'is' : 'are'} dropped, in this mode.</p>`;
}

function Delete({ webhook, close }) {
  const remove = async (write) => {
    const gone = await write('DELETE', api.path('webhooks', webhook.id), undefined, api.ifMatch(webhook.version));
    if (gone) go(['webhooks']);
    return gone;
  };
  const about = html`<p><bdi>${webhook.url}</bdi> no longer receives ${webhook.events.join(', ')}. Its deliveries and dead letters are deleted.</p><${Waiting} webhook=${webhook} />`;
  return html`<${Confirm} title=${`Delete ${webhook.id}?`} action="Delete" danger note=${false} run=${remove} close=${close} about=${about} />`;
}

export const Webhooks = ({ id, query }) => (id === undefined ? html`<${List} />` : html`<${Webhook} key=${id} id=${id} query=${query} />`);
