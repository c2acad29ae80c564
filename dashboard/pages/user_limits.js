// Limits of one user's own, instead of those of the plan.

import { useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Note } from './user_actions.js';
import { Dialog, Field, Loading, amount, html, link, useLoad, useWrite } from '../ui.js';

/** `{groupId: {quota}}`, and not the body of a whole plan. */
const isByGroup = (limits) => !limits || !Array.isArray(limits.groups);

const asTyped = (limits, plan) =>
  Object.fromEntries(plan.groups.map((group) => {
    const own = isByGroup(limits) ? limits?.[group.id] : limits.groups.find((one) => one.id === group.id);
    if (own === undefined) return [group.id, { kind: 'plan', quota: '' }];
    return [group.id, own.quota === null ? { kind: 'none', quota: '' } : { kind: 'own', quota: String(own.quota) }];
  }));

/** Null where every group is as in the plan. */
function limitsOf(typed) {
  const own = Object.entries(typed).filter(([, { kind }]) => kind !== 'plan').map(([id, { kind, quota }]) => [id, { quota: kind === 'none' ? null : quota.trim() }]);
  return own.length === 0 ? null : Object.fromEntries(own);
}

function Group({ group, typed, change }) {
  const label = group.label || group.id;
  return html`<div class="limit">
    <${Field} label=${label} hint=${`The plan gives ${group.quota === null || group.quota === undefined ? 'no limit' : amount(Number(group.quota), group.unit)}.`}>
      <select name=${`kind-${group.id}`} value=${typed.kind} onChange=${(event) => change({ ...typed, kind: event.target.value })}>
        <option value="plan">as in the plan</option><option value="own">a quota of its own</option><option value="none">without limit</option></select><//>
    ${typed.kind === 'own' && html`<${Field} label=${`Quota of ${label}${group.unit === 'count' ? '' : ` (${group.unit})`}`}>
      <input name=${`quota-${group.id}`} inputmode="decimal" required value=${typed.quota} onInput=${(event) => change({ ...typed, quota: event.target.value })} /><//>`}
  </div>`;
}

function Form({ user, plan, close, done }) {
  const { customLimits } = user.subscription;
  const [typed, setTyped] = useState(asTyped(customLimits, plan));
  const [note, setNote] = useState('');
  const { busy, error, write } = useWrite();
  const submit = async () => {
    const changed = await write('POST', 'subscriptions', { userId: user.userId, planId: plan.id, customLimits: limitsOf(typed), note: note.trim() || undefined });
    if (changed) done();
    return changed !== null;
  };
  return html`<${Dialog} title="Limits of the user’s own" action="Save" busy=${busy} error=${error} submit=${submit} close=${close}>
    <p>They hold instead of those of <a href=${link(['plans', plan.id])}><code>${plan.id}</code></a> from the next call on, until the user moves to another plan. Extra quota that ends by itself is a grant.</p>
    ${!isByGroup(customLimits) && html`<p><strong>This user has a whole plan body of its own.</strong> Saving here puts quotas by group in its place.</p>`}
    ${plan.groups.map((group) => html`<${Group} key=${group.id} group=${group} typed=${typed[group.id]} change=${(next) => setTyped({ ...typed, [group.id]: next })} />`)}
    <${Note} note=${note} set=${setNote} />
  <//>`;
}

export function OwnLimits({ user, close, done }) {
  const plan = useLoad((signal) => api.get(api.path('plans', user.subscription.planId), signal), []);
  if (plan.data) return html`<${Form} user=${user} plan=${plan.data} close=${close} done=${done} />`;
  return html`<${Dialog} title="Limits of the user’s own" error=${plan.error} submit=${() => true} close=${close}>${!plan.error && html`<${Loading} what="the plan" />`}<//>`;
}
