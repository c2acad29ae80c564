import * as api from '../api.js';
import { By } from '../by.js';
import { Badge, Confirm, Dialog, Elsewhere, Empty, Field, Heading, Loaded, More, Name, Table, Time, amount, figure, html, link, useDialog, useFresh, usePages, useWrite } from '../ui.js';
import { UntilFields, useUntil } from './user_actions.js';
import { useState } from '../vendor/hooks.js';

const states = { open: ['warn', 'open'], approved: ['good', 'approved'], rejected: ['bad', 'rejected'] };

export const Scope = ({ scope }) =>
  html`${Object.entries(scope ?? {}).map(([name, value]) => html`<div><span class="quiet">${name}</span>${' '}
    ${name === 'user' ? html`<${Name} text=${value} href=${link(['users', value])} />` : html`<${Name} text=${value} />`}</div>`)}`;

function Approve({ request, close, done }) {
  const [given, setGiven] = useState(String(request.requested));
  const [note, setNote] = useState('');
  const [owner, setOwner] = useState('');
  const until = useUntil();
  const { busy, error, write } = useWrite();
  const submit = async () => {
    const body = { amount: given, until: until.value, note: note.trim() || undefined, rollbackOwner: owner.trim() || undefined };
    const grant = await write('POST', `${api.path('approvals', request.id)}/approve`, body);
    if (grant) done();
    return grant !== null;
  };
  return html`<${Dialog} title="Approve" action="Approve" busy=${busy} error=${error} submit=${submit} close=${close}>
    <p>A grant for <bdi><strong>${request.label || request.groupId}</strong></bdi>, on top of ${amount(request.limit, request.unit)}. It applies from the next call on.</p>
    <${Scope} scope=${request.scope} />
    <${Field} label=${`Amount${request.unit && request.unit !== 'count' ? ` (${request.unit})` : ''}`} hint=${`The call requested ${amount(request.requested, request.unit)}.`}>
      <input name="amount" inputmode="decimal" required value=${given} onInput=${(event) => setGiven(event.target.value)} /><//>
    <${UntilFields} until=${until} windowEnd=${request.windowEndsAt} />
    <${Field} label="Note"><input name="note" maxlength="1000" value=${note} onInput=${(event) => setNote(event.target.value)} /><//>
    <${Field} label="Rollback owner"><input name="owner" maxlength="1000" value=${owner} onInput=${(event) => setOwner(event.target.value)} /><//>
  <//>`;
}

function decide(word, request, done) {
  return async (write, note) => {
    const decided = await write('POST', `${api.path('approvals', request.id)}/${word}`, { note });
    if (decided) done();
    return decided;
  };
}

function open(dialog, done) {
  const { open, close } = dialog;
  if (!open) return null;
  const request = open.about;
  if (open.name === 'approve') return html`<${Approve} request=${request} close=${close} done=${done} />`;
  if (open.name === 'reject') {
    return html`<${Confirm} title="Reject request?" action="Reject request" danger close=${close} run=${decide('reject', request, done)}
      about=${html`<p>Calls beyond the limit of <bdi><strong>${request.label || request.groupId}</strong></bdi> stay denied until the window ends or the request is reopened.</p>`} />`;
  }
  return html`<${Confirm} title="Reopen request?" action="Reopen request" close=${close} run=${decide('reopen', request, done)}
    about=${html`<p>The request of <bdi>${request.requestedBy}</bdi> will wait for a decision again.</p>`} />`;
}

/** How far the counter was filled: "48 / 40 used", "12 / 40 used · 5 held". */
const filled = ({ used, held, limit, unit }) => `${figure(used, unit)} / ${amount(limit, unit)} used${held ? ` · ${figure(held, unit)} held` : ''}`;

function Request({ request, dialog }) {
  const [kind, word] = states[request.status] ?? ['', request.status];
  const { decided } = request;
  const about = [request.policyId && html`policy <a href=${link(['policies', request.policyId])}>${request.policyId}</a>`, request.owner && html`owner <bdi>${request.owner}</bdi>`].filter(Boolean);
  return html`<tr data-approval=${request.id}>
    <td><bdi>${request.label || request.groupId}</bdi> <code class="quiet">${request.groupId}</code><${Scope} scope=${request.scope} />
      ${about.length > 0 && html`<div class="quiet">${about.map((part, at) => html`${at > 0 && ' · '}${part}`)}</div>`}
      ${request.approval && html`<div class="quiet"><bdi>${[request.approval.approvers?.join(', '), request.approval.condition].filter(Boolean).join(': ')}</bdi></div>`}</td>
    <td class="figure">${amount(request.requested, request.unit)}<div class="quiet">${filled(request)}</div></td>
    <td><bdi>${request.event}</bdi><div class="quiet">by <${Name} text=${request.requestedBy} href=${link(['users', request.requestedBy])} /> · <${Time} at=${request.requestedAt} /></div></td>
    <td><${Badge} kind=${kind}>${word}<//>${decided && html`<div class="quiet">${decided.amount !== null && decided.amount !== undefined && `${amount(decided.amount, request.unit)} · `}<${Time} at=${decided.at} /> by <${By} id=${decided.by} /> <bdi>${decided.note}</bdi></div>`}</td>
    <td class="end"><div class="row">${api.may('approver') && request.status === 'open' && html`
        <button type="button" class="primary" onClick=${() => dialog.show('approve', request)}>Approve</button>
        <button type="button" class="danger" onClick=${() => dialog.show('reject', request)}>Reject</button>`}
      ${api.may('approver') && request.status === 'rejected' && html`<button type="button" onClick=${() => dialog.show('reopen', request)}>Reopen</button>`}</div></td>
  </tr>`;
}

export function Approvals({ query }) {
  const status = query.status === 'decided' ? 'decided' : 'open';
  const pages = usePages('approvals', { status });
  useFresh(pages);
  const dialog = useDialog();
  const empty = html`<${Empty} title=${status === 'open' ? `No open requests in ${api.placeWords()}` : `No decisions in ${api.placeWords()} yet`}>
    <p>A limit group with the enforcement “approval” opens a request when a call exceeds its limit. Set it in a <a href=${link(['plans'])}>plan</a> or a <a href=${link(['policies'])}>policy</a>.</p><${Elsewhere} /><//>`;
  return html`
    <${Heading} title="Approvals" />
    <nav class="tabs" aria-label="Which requests">${['open', 'decided'].map((name) => html`<a href=${link(['approvals'], { status: name })} aria-current=${name === status ? 'page' : undefined}>${name === 'open' ? 'Open' : 'Decided'}</a>`)}</nav>
    <${Loaded} of=${pages} what="requests" empty=${empty}>
      <${Table} label="Requests">
        <thead><tr><th>Limit</th><th class="figure">Requested</th><th>Call</th><th>State</th><td></td></tr></thead>
        <tbody>${pages.data.map((request) => html`<${Request} key=${request.id} request=${request} dialog=${dialog} />`)}</tbody>
      <//>
      <${More} pages=${pages} />
    <//>
    ${open(dialog, pages.reload)}`;
}
