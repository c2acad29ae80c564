import * as api from '../api.js';
import { DocumentPage, NewDocument, toNew } from '../editor.js';
import { periodOf, periodWords } from '../form/words.js';
import { OwnerLimits } from './owner_limits.js';
import { Badge, Empty, Heading, Loaded, Name, Table, html, link, useLoad } from '../ui.js';

const example = {
  name: 'Free',
  periodType: 'monthly',
  periodAnchor: 'subscription_start',
  groups: [{ id: 'calls', label: 'Calls', unit: 'count', quota: 20, matches: [{ event: '*' }] }],
};

const kind = {
  path: 'plans',
  title: 'plan',
  Title: 'Plan',
  moves: true,
  below: (plan) => html`<${OwnerLimits} document=${plan} />`,
  example: () => JSON.stringify(example, null, 2),
};

function List() {
  const plans = useLoad((signal) => api.get('plans', signal), []);
  const settings = useLoad((signal) => api.get('app', signal), []);
  const standard = settings.data?.defaultPlanId;
  const empty = html`<${Empty} title="No plans yet"><p>A plan is a set of limits: how much of each event a user may use. Without a plan, every call is denied. <a href=${link(['start'])}>Three steps to the first call</a></p>
    ${api.may('admin') && html`<p>“New plan” begins with an example. <code>quotagate apply</code> takes plans from a file.</p>`}<//>`;
  return html`
    <${Heading} title="Plans">${api.may('admin') && toNew(kind)}<//>
    <${Loaded} of=${plans} what="plans" empty=${empty}>${() => html`<${Table} label="Plans">
      <thead><tr><th>Plan</th><th>Name</th><th>Period</th><th>Limit groups</th></tr></thead>
      <tbody>${plans.data.data.map((plan) => html`<tr key=${plan.id}>
        <td><${Name} text=${plan.id} href=${link(['plans', plan.id])} />${plan.id === standard && html` <${Badge} kind="good">default<//>`}</td>
        <td><bdi>${plan.name ?? '–'}</bdi></td>
        <td>${periodOf(plan, plan) === undefined ? 'each group has its own' : periodWords(plan, plan)}</td>
        <td>${plan.groups.map((group) => group.label ?? group.id).join(', ')}</td>
      </tr>`)}</tbody>
    <//>`}<//>`;
}

export function Plans({ id, query }) {
  if (id === undefined) return html`<${List} />`;
  if (id === 'new') return html`<${NewDocument} kind=${kind} query=${query} />`;
  return html`<${DocumentPage} key=${id} kind=${kind} id=${id} />`;
}
