import * as api from '../api.js';
import { Badge, Confirm, Dialog, Empty, ErrorBox, Field, Heading, Loaded, More, Name, Secret, Table, Time, go, html, link, number, plural, useDialog, useFresh, useLoad, usePages, useWrite } from '../ui.js';
import { useState } from '../vendor/hooks.js';

const events = ['threshold.reached', 'limit.reached', 'approval.requested', 'approval.decided', 'subscription.changed', 'reservation.expired'];

/** Creates or changes one; a new one's secret is handed to `done`. */
function EditDialog({ webhook, close, done }) {
  const [id, setId] = useState(webhook?.id ?? '');
  const [url, setUrl] = useState(webhook?.url ?? '');
  const [chosen, setChosen] = useState(new Set(webhook?.events ?? ['limit.reached']));
  const [filter, setFilter] = useState(webhook?.filter ? JSON.stringify(webhook.filter) : '');
  const [template, setTemplate] = useState(webhook?.template ?? '');
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
    const body = { url, events: events.filter((event) => chosen.has(event)), filter: parsed, template: template || undefined };
    const saved = await write('PUT', api.path('webhooks', id), body, api.ifMatch(webhook?.version));
    if (saved) done(saved);
    return saved !== null;
  };
  return html`<${Dialog} title=${webhook ? `Change ${webhook.id}` : 'New webhook'} action=${webhook ? 'Save' : 'Create'} busy=${busy} error=${fault ?? error} submit=${submit} close=${close}>
    ${!webhook && html`<${Field} label="Id" hint="Letters, digits, _ and -."><input name="id" required value=${id} onInput=${(event) => setId(event.target.value)} /><//>`}
    <${Field} label="URL"><input name="url" type="url" required value=${url} onInput=${(event) => setUrl(event.target.value)} /><//>
    <fieldset><legend>Is told of</legend>${events.map((event) => html`<label class="check"><input type="checkbox" name=${event} checked=${chosen.has(event)} onChange=${toggle(event)} /> ${event}</label>`)}</fieldset>
    <${Field} label="Filter (JSON)" hint=${'Only what matches, such as {"owners": ["platform"]}. Empty: everything.'}><input name="filter" value=${filter} onInput=${(event) => setFilter(event.target.value)} /><//>
    <${Field} label="Text" hint="For chats: {event}, {group}, {percent}, {used}, {held}, {quota}, {unit}, {scope}, {owner}, {policy}, {resetsAt}."><input name="template" value=${template} onInput=${(event) => setTemplate(event.target.value)} /><//>
  <//>`;
}

/** Whether something did not reach it, as far as one page tells. */
function Undelivered({ id }) {
  const where = (status) => `${api.path('webhooks', id)}/deliveries${api.query({ status, limit: 50 })}`;
  const dead = useLoad((signal) => api.get(where('dead'), signal), [id, api.place.mode]);
  const count = dead.data?.data.length ?? 0;
  if (count === 0) return null;
  return html`<a href=${link(['webhooks', id], { status: 'dead' })}><${Badge} kind="bad">${number(count)}${dead.data.nextCursor ? ' and more' : ''} dead ${count === 1 ? 'letter' : 'letters'}<//></a>`;
}

function List() {
  const webhooks = useLoad((signal) => api.get('webhooks', signal), []);
  const [created, setCreated] = useState(null);
  const dialog = useDialog();
  const done = (saved) => {
    setCreated(saved);
    webhooks.reload();
  };
  const empty = html`<${Empty} title="No webhooks yet"><p>A webhook tells another system of crossed thresholds, reached limits, approvals and expiries, signed and retried for 24 hours.</p><//>`;
  return html`
    <${Heading} title="Webhooks">${api.may('admin') && html`<button type="button" class="primary" onClick=${() => dialog.show('new')}>New webhook</button>`}<//>
    ${created?.secret && html`<${Secret} title=${`The signing secret of ${created.id}.`} text=${created.secret} />`}
    <${Loaded} of=${webhooks} what="webhooks" empty=${empty}>${() => html`<${Table} label="Webhooks">
      <thead><tr><th>Webhook</th><th>URL</th><th>Is told of</th><th>Since</th></tr></thead>
      <tbody>${webhooks.data.data.map((webhook) => html`<tr key=${webhook.id}>
        <td><${Name} text=${webhook.id} href=${link(['webhooks', webhook.id])} /> <${Undelivered} id=${webhook.id} /></td>
        <td><bdi class="name">${webhook.url}</bdi></td>
        <td>${webhook.events.join(', ')}</td>
        <td><${Time} at=${webhook.createdAt} /></td>
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
  const empty = html`<p class="quiet">${status ? `None are ${status}.` : 'Nothing was sent yet.'}</p>`;
  return html`<h2>Deliveries</h2>
    <nav class="tabs" aria-label="Which deliveries">${[['', 'All'], ['pending', 'Pending'], ['delivered', 'Delivered'], ['dead', 'Dead letters']].map(([name, title]) => html`
      <a href=${link(['webhooks', id], { status: name })} aria-current=${name === status ? 'page' : undefined}>${title}</a>`)}</nav>
    <${ErrorBox} error=${error} />
    <${Loaded} of=${pages} what="deliveries" empty=${empty}>
      <${Table} label="Deliveries">
        <thead><tr><th>Message</th><th>Event</th><th>State</th><th class="figure">Attempts</th><th>Last answer</th><th>Next attempt</th><td></td></tr></thead>
        <tbody>${pages.data.map((delivery) => html`<tr key=${delivery.id}>
          <td><${Name} text=${delivery.id} /><details><summary>Payload</summary><pre>${JSON.stringify(delivery.payload, null, 2)}</pre></details></td>
          <td>${delivery.event}</td>
          <td><${Badge} kind=${kinds[delivery.status]}>${delivery.status === 'dead' ? 'dead letter' : delivery.status}<//></td>
          <td class="figure">${delivery.attempts}</td>
          <td>${delivery.responseStatus ?? ''} <bdi>${delivery.error}</bdi> <${Time} at=${delivery.lastAttemptAt} never="none yet" /></td>
          <td><${Time} at=${delivery.nextAttemptAt} never="none" /></td>
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
      <dt>Is told of</dt><dd>${webhook.events.join(', ')}</dd>
      ${webhook.filter && html`<dt>Filter</dt><dd><code>${JSON.stringify(webhook.filter)}</code></dd>`}
      ${webhook.template && html`<dt>Text</dt><dd><bdi>${webhook.template}</bdi></dd>`}
    </dl>
    <${Deliveries} id=${id} query=${query} />`}<//>
    ${dialog.open?.name === 'edit' && html`<${EditDialog} webhook=${webhook} close=${dialog.close} done=${loaded.reload} />`}
    ${dialog.open?.name === 'rotate' && html`<${Confirm} title="Rotate the secret?" action="Rotate" note=${false} run=${rotate} close=${dialog.close}
      about=${html`<p>A new secret signs from now on. The present one goes on signing beside it for 24 hours, so that the receiver can change over.</p>`} />`}
    ${dialog.open?.name === 'delete' && html`<${Delete} webhook=${webhook} close=${dialog.close} />`}`;
}

/** What has not reached it yet; beyond a page of them it is told that there are more. */
function Waiting({ webhook }) {
  const waiting = useLoad((signal) => api.get(`${api.path('webhooks', webhook.id)}/deliveries${api.query({ status: 'pending', limit: 200 })}`, signal), []);
  if (!waiting.data) return html`<${Loaded} of=${waiting} what="what waits" />`;
  const { data, nextCursor } = waiting.data;
  if (data.length === 0) return html`<p>Nothing waits to be delivered to it.</p>`;
  return html`<p><strong>${nextCursor ? 'More than ' : ''}${plural(data.length, 'delivery', 'deliveries')}</strong> ${data.length === 1 && !nextCursor ? 'waits' : 'wait'} for another attempt and ${data.length === 1 && !nextCursor ? 'is' : 'are'} dropped, in this mode.</p>`;
}

function Delete({ webhook, close }) {
  const remove = async (write) => {
    const gone = await write('DELETE', api.path('webhooks', webhook.id), undefined, api.ifMatch(webhook.version));
    if (gone) go(['webhooks']);
    return gone;
  };
  const about = html`<p><bdi>${webhook.url}</bdi> is told nothing any more, of ${webhook.events.join(', ')}. Its deliveries and dead letters are gone.</p><${Waiting} webhook=${webhook} />`;
  return html`<${Confirm} title=${`Delete ${webhook.id}?`} action="Delete" danger note=${false} run=${remove} close=${close} about=${about} />`;
}

export const Webhooks = ({ id, query }) => (id === undefined ? html`<${List} />` : html`<${Webhook} key=${id} id=${id} query=${query} />`);
