import * as api from '../api.js';
import { By } from '../by.js';
import { DocumentPage, NewDocument, toNew } from '../editor.js';
import { OwnerLimits } from './owner_limits.js';
import { Badge, Confirm, Empty, Heading, Loaded, Name, Table, Time, html, keepFilter, link, useDialog, useLoad } from '../ui.js';
import { useState } from '../vendor/hooks.js';

const example = {
  owner: 'platform',
  reviewCadence: 'quarterly',
  periodType: 'monthly',
  groups: [{ id: 'app_calls', label: 'All calls of the app', unit: 'count', quota: 100000, scope: ['app'], matches: [{ event: '*' }] }],
};

const Review = ({ policy }) =>
  policy.reviewDue ? html`<${Badge} kind="warn">review due<//> <${Time} at=${policy.reviewDueAt} real />` : html`<${Time} at=${policy.reviewDueAt} never="none planned" real />`;

const kind = {
  path: 'policies',
  title: 'policy',
  Title: 'Policy',
  moves: false,
  below: (policy) => html`<${OwnerLimits} document=${policy} />`,
  example: () => JSON.stringify(example, null, 2),
  // Admins find owner, environment and route in the form below.
  facts: (policy) => html`<dl class="facts">
    ${!api.may('admin') && html`<dt>Owner</dt><dd><bdi>${policy.owner ?? '–'}</bdi></dd>
      <dt>Environment</dt><dd><bdi>${policy.environment ?? '–'}</bdi></dd>
      <dt>Route</dt><dd><bdi>${policy.route ?? '–'}</bdi></dd>`}
    <dt>Next review</dt><dd><${Review} policy=${policy} /></dd>
    ${policy.reviewed && html`<dt>Last review</dt><dd><${Time} at=${policy.reviewed.at} real /> by <${By} id=${policy.reviewed.by} /> <bdi>${policy.reviewed.note}</bdi></dd>`}
    ${policy.notes && html`<dt>Notes</dt><dd><bdi>${policy.notes}</bdi></dd>`}
    ${policy.approval && html`<dt>Approval</dt><dd><bdi>${policy.approval.approvers?.join(', ')} ${policy.approval.condition}</bdi></dd>`}
  </dl>`,
};

function MarkReviewed({ document, reload }) {
  const dialog = useDialog();
  const run = async (write, note) => {
    const reviewed = await write('POST', `${api.path('policies', document.id)}/review`, { note });
    if (reviewed) reload();
    return reviewed;
  };
  return html`<button type="button" onClick=${() => dialog.show('review')}>Mark reviewed</button>
    ${dialog.open && html`<${Confirm} title="Mark as reviewed?" action="Mark reviewed" run=${run} close=${dialog.close}
      about=${html`<p>You have looked at <code>${document.id}</code> and found it right. ${document.reviewCadence ? `The next review is due by its cadence (${document.reviewCadence}).` : 'No next review is planned, since the policy has no review cadence.'}</p>`} />`}`;
}

function Register({ query }) {
  const policies = useLoad((signal) => api.get('policies', signal), []);
  const [filter, setFilter] = useState({ owner: query.owner ?? '', due: query.due ?? '' });
  const change = (changed) => {
    const next = { ...filter, ...changed };
    setFilter(next);
    keepFilter(next);
  };
  const all = policies.data?.data ?? [];
  const owners = [...new Set(all.map((policy) => policy.owner).filter(Boolean))].sort();
  const shown = all.filter((policy) => (!filter.owner || policy.owner === filter.owner) && (!filter.due || policy.reviewDue));
  const empty = html`<${Empty} title="No policies yet"><p>A policy limits every event of the app, whatever plan a user is on: per team, key, workflow, model or for all together.</p>
    ${api.may('admin') && html`<p>“New policy” begins with an example.</p>`}<//>`;
  return html`
    <${Heading} title="Policies">${api.may('admin') && toNew(kind)}<//>
    <div class="filter">
      <select aria-label="Owner" value=${filter.owner} onChange=${(event) => change({ owner: event.target.value })}>
        <option value="">All owners</option>${owners.map((owner) => html`<option value=${owner}>${owner}</option>`)}
      </select>
      <select aria-label="Review" value=${filter.due} onChange=${(event) => change({ due: event.target.value })}>
        <option value="">All reviews</option><option value="1">Review due</option>
      </select>
    </div>
    <${Loaded} of=${policies} what="policies" empty=${empty}>${() => html`<${Table} label="Policies">
      <thead><tr><th>Policy</th><th>Owner</th><th>Environment</th><th>Limit groups</th><th>Next review</th></tr></thead>
      <tbody>${shown.map((policy) => html`<tr key=${policy.id}>
        <td><${Name} text=${policy.id} href=${link(['policies', policy.id])} /></td>
        <td><bdi>${policy.owner ?? '–'}</bdi></td>
        <td><bdi>${policy.environment ?? '–'}</bdi></td>
        <td>${policy.groups.map((group) => group.label ?? group.id).join(', ')}</td>
        <td><${Review} policy=${policy} /></td>
      </tr>`)}</tbody>
    <//>
    ${shown.length === 0 && html`<p class="quiet">None match the filter.</p>`}`}<//>`;
}

export function Policies({ id, query }) {
  if (id === undefined) return html`<${Register} query=${query} />`;
  if (id === 'new') return html`<${NewDocument} kind=${kind} query=${query} />`;
  return html`<${DocumentPage} key=${id} kind=${kind} id=${id} extra=${(given) => html`<${MarkReviewed} ...${given} />`} />`;
}
