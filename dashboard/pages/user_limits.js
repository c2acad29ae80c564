// Custom limits of one user, instead of those of the plan.

import { useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { limitOf } from '../counter.js';
import { Note } from './user_actions.js';
import { Dialog, Field, Loading, amount, html, link, useLoad, useWrite } from '../ui.js';

/** `{groupId: {quota}}`, and not the body of a whole plan. */
const isByGroup = (limits) => !limits || !Array.isArray(limits.groups);

/** A balance has no quota. */
const groupsOf = (plan) => plan.groups.filter((group) => group.kind !== 'balance');

const asTyped = (limits, plan) =>
  Object.fromEntries(groupsOf(plan).map((group) => {
    const own = isByGroup(limits) ? limits?.[group.id] : limits.groups.find((one) => one.id === group.id);
    return [group.id, { quota: own === undefined || own.quota === null ? '' : String(own.quota), none: own?.quota === null, own }];
  }));

/** Null where every group is as in the plan. An end and a note stay. */
function limitsOf(typed, limits) {
  const own = Object.entries(typed).filter(([, { quota, none }]) => none || quota.trim() !== '').map(([id, { quota, none, own }]) => [id, { ...(isByGroup(limits) && own), quota: none ? null : quota.trim() }]);
  return own.length === 0 ? null : Object.fromEntries(own);
}

/** What the limit would mean for what is used now. */
function Effect({ group, counter, typed }) {
  const quota = Number(typed.quota);
  if (!counter || typed.none || typed.quota.trim() === '' || !Number.isFinite(quota)) return null;
  const taken = counter.used + counter.held;
  const room = limitOf({ ...counter, quota });
  if (taken <= room) return null;
  return html`<p class="warning" role="status">${amount(taken, group.unit)} are used or held, so further calls are denied until the window ends.</p>`;
}

function Group({ group, counter, typed, change }) {
  const label = group.label || group.id;
  const plans = group.quota === null || group.quota === undefined ? 'no limit' : amount(Number(group.quota), group.unit);
  return html`<div class="limit">
    <${Field} label=${`${label}${group.unit === 'count' ? '' : ` (${group.unit})`}`} hint=${`Empty: as in the plan (${plans}).`}>
      <input name=${`quota-${group.id}`} inputmode="decimal" autocomplete="off" disabled=${typed.none} placeholder=${typed.none ? 'no limit' : plans} value=${typed.none ? '' : typed.quota} onInput=${(event) => change({ ...typed, quota: event.target.value })} /><//>
    <label class="check"><input type="checkbox" name=${`none-${group.id}`} checked=${typed.none} onChange=${(event) => change({ ...typed, none: event.target.checked })} /> No limit</label>
  </div>
  <${Effect} group=${group} counter=${counter} typed=${typed} />`;
}

function Form({ user, plan, close, done }) {
  const { customLimits } = user.subscription;
  const [typed, setTyped] = useState(asTyped(customLimits, plan));
  const [note, setNote] = useState('');
  const { busy, error, write } = useWrite();
  const submit = async () => {
    const changed = await write('POST', 'subscriptions', { userId: user.userId, planId: plan.id, customLimits: limitsOf(typed, customLimits), note: note.trim() || undefined });
    if (changed) done();
    return changed !== null;
  };
  return html`<${Dialog} title="Custom limits" action="Save" busy=${busy} error=${error} submit=${submit} close=${close}>
    <p>These limits replace those of <a href=${link(['plans', plan.id])}><code>${plan.id}</code></a> from the next call on, until the user moves to another plan. For extra quota with an end, add a grant.</p>
    ${!isByGroup(customLimits) && html`<p><strong>This user has a custom plan.</strong> Saving here replaces it with quotas by group.</p>`}
    ${groupsOf(plan).map((group) => html`<${Group} key=${group.id} group=${group} counter=${user.counters.find((counter) => counter.groupId === group.id)} typed=${typed[group.id]} change=${(next) => setTyped({ ...typed, [group.id]: next })} />`)}
    <${Note} note=${note} set=${setNote} />
  <//>`;
}

export function OwnLimits({ user, close, done }) {
  const plan = useLoad((signal) => api.get(api.path('plans', user.subscription.planId), signal), []);
  if (plan.data) return html`<${Form} user=${user} plan=${plan.data} close=${close} done=${done} />`;
  return html`<${Dialog} title="Custom limits" error=${plan.error} submit=${() => true} close=${close}>${!plan.error && html`<${Loading} what="the plan" />`}<//>`;
}
