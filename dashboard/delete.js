// Deleting a plan or a policy: the dialog lists what depends on it.

import { useState } from './vendor/hooks.js';
import * as api from './api.js';
import { dropDraft } from './drafts.js';
import { outcomes } from './move.js';
import { Dialog, ErrorBox, Field, Loading, go, html, link, number, plural, useLoad, useWrite } from './ui.js';

const list = (parts) => parts.map((part, at) => html`${at > 0 && ', '}${part}`);

const modeName = (mode) => (mode === 'live' ? 'live mode' : `the sandbox ${mode.slice('test/'.length)}`);

const sum = (modes, name) => modes.reduce((sum, mode) => sum + mode[name], 0);

/** Who is on a plan, in every mode. */
function Users({ preview }) {
  const { users, complete } = preview;
  if (users.length === 0) return html`<li>${complete ? 'No users are on it.' : 'No users found so far. There are too many users to check all of them.'}</li>`;
  const own = sum(users, 'ownLimits');
  const where = users.length === 1 ? `, in ${modeName(users[0].mode)}` : html`: ${list(users.map((mode) => `${number(mode.users)} in ${modeName(mode.mode)}`))}`;
  return html`<li>${complete ? '' : 'At least '}<strong>${plural(sum(users, 'users'), 'user')}</strong> ${sum(users, 'users') === 1 && complete ? 'is' : 'are'} on it${where}.
    ${own > 0 && html` ${number(own)} of them ${own === 1 ? 'has custom limits, which the move drops' : 'have custom limits, which the move drops'}.`}</li>`;
}

/** Its groups: which end, and which go on in other plans. */
function Groups({ groups }) {
  const name = (group) => html`<bdi>${group.label}</bdi>${group.label === group.groupId ? '' : html` <code class="quiet">${group.groupId}</code>`}`;
  const gone = groups.filter((group) => group.alsoIn.length === 0);
  const kept = groups.filter((group) => group.alsoIn.length > 0);
  return html`
    ${groups.length === 0 && html`<li>It has no limit groups.</li>`}
    ${gone.length > 0 && html`<li>${gone.length === 1 ? 'The limit' : 'The limits'} ${list(gone.map(name))} ${gone.length === 1 ? 'ends' : 'end'} with the next call, on every node. Open reservations can still be committed.</li>`}
    ${kept.map((group) => html`<li>${name(group)} continues in ${list(group.alsoIn.map((plan) => html`<a href=${link(['plans', plan])}>${plan}</a>`))}.</li>`)}`;
}

function Dependents({ kind, preview }) {
  return html`<ul>
    ${preview.isDefault && html`<li><strong>It is the default plan</strong> for users without a subscription. Choose another one in the <a href=${link(['app'])}>app settings</a> first.</li>`}
    ${kind.moves && html`<${Users} preview=${preview} />`}
    <${Groups} groups=${preview.groups} />
    ${preview.grants > 0 && html`<li>${plural(preview.grants, 'active grant')} for these limits ${preview.grants === 1 ? 'has' : 'have'} no effect any more.</li>`}
    ${preview.openApprovals > 0 && html`<li>${plural(preview.openApprovals, 'open request')} for <a href=${link(['approvals'])}>approval</a> ${preview.openApprovals === 1 ? 'concerns' : 'concern'} these limits.</li>`}
    ${preview.webhooks.length > 0 && html`<li>${preview.webhooks.length === 1 ? 'The webhook' : 'The webhooks'} ${list(preview.webhooks.map((id) => html`<a href=${link(['webhooks', id])}>${id}</a>`))} no longer ${preview.webhooks.length === 1 ? 'receives' : 'receive'} events.</li>`}
    ${!kind.moves && html`<li>Only plans and other policies limit these calls then.</li>`}
    ${!preview.complete && html`<li class="quiet">There may be more: not everything could be checked in time.</li>`}
  </ul>`;
}

/** Where its users go, and what their counters do there. */
function MoveTo({ from, plans, moveTo, choose }) {
  const target = plans.find((plan) => plan.id === moveTo);
  return html`
    <${Field} label="Move its users to" hint="A plan can be deleted once no user is on it.">
      <select name="moveTo" required value=${moveTo} onChange=${(event) => choose(event.target.value)}>
        <option value="" disabled>Choose a plan</option>
        ${plans.map((plan) => html`<option value=${plan.id}>${plan.name ? `${plan.name} (${plan.id})` : plan.id}</option>`)}
      </select><//>
    ${target && html`<h3>What happens to their counters</h3><ul>${outcomes(from, target).map(({ id, label, says }) => html`<li key=${id}><bdi>${label}</bdi>: ${says}</li>`)}</ul>`}`;
}

/** @param {{kind: any, id: string, document: any, close: () => void}} given */
export function Delete({ kind, id, document, close }) {
  const [moveTo, setMoveTo] = useState('');
  const where = api.path(kind.path, id);
  const preview = useLoad((signal) => api.send('DELETE', `${where}?dryRun=true`, undefined, api.ifMatch(document.version), signal), []);
  const plans = useLoad((signal) => (kind.moves ? api.get('plans', signal) : Promise.resolve({ data: [] })), []);
  const { busy, error, write } = useWrite();
  const others = (plans.data?.data ?? []).filter((plan) => plan.id !== id);
  const inUse = preview.data?.users.length > 0 || error?.code === 'plan_in_use';
  const impossible = !preview.data || preview.data.isDefault || (inUse && !moveTo);
  const submit = async () => {
    const gone = await write('DELETE', `${where}${api.query({ moveTo })}`, undefined, api.ifMatch(document.version));
    if (gone) {
      dropDraft(`${kind.path}/${id}`);
      go([kind.path]);
    }
    // A user may have joined meanwhile.
    else preview.reload();
    return gone !== null;
  };
  return html`<${Dialog} title=${`Delete ${kind.title} ${id}?`} action=${inUse ? 'Move users and delete plan' : `Delete ${kind.title}`} danger busy=${busy} blocked=${impossible} error=${error ?? plans.error} submit=${submit} close=${close}>
    <${ErrorBox} error=${preview.error} retry=${preview.reload} />
    ${!preview.data && !preview.error && html`<${Loading} what="what depends on it" />`}
    ${preview.data && html`<${Dependents} kind=${kind} preview=${preview.data} />
      ${inUse && !preview.data.isDefault && (others.length > 0 || !plans.data ? html`<${MoveTo} from=${document} plans=${others} moveTo=${moveTo} choose=${setMoveTo} />` : html`<p>There is no other plan to move them to.</p>`)}
      <p>This cannot be undone.</p>`}
  <//>`;
}
