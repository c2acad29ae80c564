// What operators do to one user. Each dialog says what will happen before it asks.

import { useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Bar, limitOf } from '../counter.js';
import { preview } from '../move.js';
import { Confirm, Dialog, ErrorBox, Field, Loading, amount, html, useLoad, useWrite, when } from '../ui.js';

const name = (user) => html`<bdi class="name"><strong>${user.userId}</strong></bdi>`;

/** The first instant of the next month, UTC, by the time of the data. */
export function monthEnd() {
  const now = api.now();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1)).toISOString().replace('.000Z', 'Z');
}

/** Until when extra quota holds: `undefined` is the end of the window. */
export function useUntil() {
  const [choice, setChoice] = useState('window');
  const [time, setTime] = useState('');
  const value = choice === 'month' ? monthEnd() : choice === 'time' && time ? new Date(`${time}Z`).toISOString() : undefined;
  return { choice, setChoice, time, setTime, value };
}

export function UntilFields({ until, windowEnd }) {
  return html`
    <${Field} label="Until">
      <select name="until" value=${until.choice} onChange=${(event) => until.setChoice(event.target.value)}>
        <option value="window">the end of the window${windowEnd ? ` (${when(windowEnd)})` : ''}</option>
        <option value="month">the end of the month (${when(monthEnd())})</option>
        <option value="time">a time</option>
      </select>
    <//>
    ${until.choice === 'time' && html`<${Field} label="Time (UTC)"><input type="datetime-local" name="time" required value=${until.time} onInput=${(event) => until.setTime(event.target.value)} /><//>`}`;
}

export function GrantDialog({ user, counter, close, done }) {
  const [given, setGiven] = useState('');
  const [note, setNote] = useState('');
  const until = useUntil();
  const { busy, error, write } = useWrite();
  const label = counter.label || counter.groupId;
  const submit = async () => {
    const body = { groupId: counter.groupId, scope: counter.scope, amount: given, note: note.trim() || undefined, expiresAt: until.value };
    if ((await write('POST', 'grants', body)) === null) return false;
    done();
    return true;
  };
  const then = Number(given) > 0 && counter.quota !== null ? amount(limitOf(counter) + Number(given), counter.unit) : null;
  const shared = Object.keys(counter.scope).some((key) => key !== 'user');
  return html`<${Dialog} title=${`Grant more ${label}`} action="Grant" busy=${busy} error=${error} submit=${submit} close=${close}>
    <p>Extra quota on top of the plan${shared ? ', for everyone who shares this counter' : html` to ${name(user)}`}. It applies from the next call on.</p>
    <${Field} label=${`Amount${counter.unit === 'count' ? '' : ` (${counter.unit})`}`}><input name="amount" inputmode="decimal" required autocomplete="off" value=${given} onInput=${(event) => setGiven(event.target.value)} /><//>
    <${UntilFields} until=${until} windowEnd=${counter.resetsAt} />
    <${Field} label="Note" hint="Stored with the grant and in the audit log."><input name="note" maxlength="1000" value=${note} onInput=${(event) => setNote(event.target.value)} /><//>
    <p role="status">${then ? `The limit becomes ${then}; ${amount(counter.used + counter.held, counter.unit)} are used or held.` : ''}</p>
  <//>`;
}

export function Release({ reservation, close, done }) {
  const run = async (write, reason) => {
    const released = await write('POST', `${api.path('reservations', reservation.reservationId)}/release`, { reason });
    if (released) done();
    return released;
  };
  const about = html`<p>This frees at once what <code>${reservation.reservationId}</code> holds for <bdi>${reservation.event}</bdi>:</p>
    <ul>${reservation.held.map((held) => html`<li><code>${held.groupId}</code>: ${amount(held.amount, held.unit)}</li>`)}</ul>
    <p>It also frees what it holds in shared counters, such as a team’s. If your application still works on it, its commit is refused and its cost is not counted. Otherwise the reservation expires at <time datetime=${reservation.expiresAt}>${reservation.expiresAt}</time>.</p>`;
  return html`<${Confirm} title="Release this reservation?" about=${about} action="Release reservation" danger most=${256} hint="Stored in the ledger and in the audit log." run=${run} close=${close} />`;
}

export function Revoke({ grant, close, done }) {
  const about = html`<p>The counter <code>${grant.groupId}</code> loses the ${amount(grant.amount, grant.unit)} of this grant. Used amounts stay, so the counter may be over its limit.</p>`;
  const run = async (write) => {
    const gone = await write('DELETE', api.path('grants', grant.id));
    if (gone) done();
    return gone;
  };
  return html`<${Confirm} title="Revoke this grant?" about=${about} action="Revoke grant" danger note=${false} run=${run} close=${close} />`;
}

export function SetBlocked({ user, close, done }) {
  const run = async (write, note) => {
    const changed = await write('POST', api.path('users', user.userId, user.blocked ? 'unblock' : 'block'), { note });
    if (changed) done();
    return changed;
  };
  const about = user.blocked
    ? html`<p>${name(user)} may make calls again, within the limits. Counters do not change.</p>`
    : html`<p>Every reserve of ${name(user)} is denied from the next call on, on every node. Open reservations can still be committed, and tracked events still count.</p>`;
  return html`<${Confirm} title=${user.blocked ? 'Unblock this user?' : 'Block this user?'} about=${about} action=${user.blocked ? 'Unblock user' : 'Block user'} danger=${!user.blocked} run=${run} close=${close} />`;
}

export function Reset({ user, counter, close, done }) {
  const run = async (write, note) => {
    const changed = await write('POST', api.path('users', user.userId, 'reset'), { groupId: counter?.groupId, note });
    if (changed) done();
    return changed;
  };
  const mine = user.counters.filter((one) => one.kind !== 'balance' && one.scope.user !== undefined && (!counter || one.groupId === counter.groupId));
  const about = html`<p>These counters of ${name(user)} restart at 0. This cannot be undone:</p>
    <ul>${mine.map((one) => html`<li><bdi>${one.label || one.groupId}</bdi>: ${amount(one.used, one.unit)} used</li>`)}</ul>
    <p>Open reservations settle in the window that ends now.</p>`;
  return html`<${Confirm} title=${counter ? `Reset ${counter.label || counter.groupId}?` : 'Reset all counters?'} about=${about} action=${counter ? 'Reset counter' : 'Reset counters'} danger run=${run} close=${close} />`;
}

/** The note that each change by hand can have. */
export const Note = ({ note, set }) => html`<${Field} label="Note" hint="Stored in the audit log."><input name="note" maxlength="1000" value=${note} onInput=${(event) => set(event.target.value)} /><//>`;

export function Cancel({ user, close, done }) {
  const run = async (write, note) => {
    const changed = await write('DELETE', 'subscriptions', { userId: user.userId, note });
    if (changed) done();
    return changed;
  };
  const about = html`<p>${name(user)} leaves <code>${user.subscription.planId}</code> now. Without a default plan every further call is denied with <code>no_subscription</code>. Used amounts are kept.</p>`;
  return html`<${Confirm} title="Cancel the subscription?" about=${about} action="Cancel the subscription" danger run=${run} close=${close} />`;
}

export function Move({ user, close, done }) {
  const plans = useLoad((signal) => api.get('plans', signal), []);
  const [planId, setPlanId] = useState('');
  const [resetUsage, setResetUsage] = useState(false);
  const [note, setNote] = useState('');
  const { busy, error, write } = useWrite();
  const submit = async () => {
    const moved = await write('POST', 'subscriptions', { userId: user.userId, planId, resetUsage: resetUsage || undefined, note: note.trim() || undefined });
    if (moved) done();
    return moved !== null;
  };
  const others = (plans.data?.data ?? []).filter((plan) => plan.id !== user.subscription?.planId);
  return html`<${Dialog} title=${user.subscription ? 'Move to another plan' : 'Put on a plan'} action=${user.subscription ? 'Move user' : 'Put on the plan'} busy=${busy} error=${error ?? plans.error} submit=${submit} close=${close}>
    <p>${name(user)} ${user.subscription ? html`leaves the plan <code>${user.subscription.planId}</code>` : 'has no subscription'}. The new plan starts now.</p>
    ${plans.data ? html`<${Field} label="Plan"><select name="plan" required value=${planId} onChange=${(event) => setPlanId(event.target.value)}>
      <option value="" disabled>Choose a plan</option>
      ${others.map((plan) => html`<option value=${plan.id}>${plan.name ? `${plan.name} (${plan.id})` : plan.id}</option>`)}
    </select><//>` : !plans.error && html`<${Loading} what="plans" />`}
    ${planId && html`<${MovePreview} user=${user} planId=${planId} resetUsage=${resetUsage} />`}
    ${user.subscription && html`<label class="check"><input type="checkbox" checked=${resetUsage} onChange=${(event) => setResetUsage(event.target.checked)} /> Start every counter at 0</label>`}
    ${user.subscription?.customLimits && html`<p class="quiet">The custom limits of this user end.</p>`}
    <${Note} note=${note} set=${setNote} />
  <//>`;
}

/** What each counter will do, as the gateway foretells it. */
function MovePreview({ user, planId, resetUsage }) {
  const body = { userId: user.userId, planId, resetUsage: resetUsage || undefined };
  const dryRun = useLoad((signal) => api.send('POST', 'subscriptions?dryRun=true', body, {}, signal).then((data) => ({ of: planId, ...data })), [planId, resetUsage]);
  const labels = new Map(user.counters.map((counter) => [counter.groupId, counter.label || counter.groupId]));
  if (dryRun.error) return html`<${ErrorBox} error=${dryRun.error} retry=${dryRun.reload} />`;
  if (dryRun.data?.of !== planId) return html`<${Loading} what="what the counters will do" />`;
  return html`<h3>What the counters will do</h3><div role="status"><ul class="preview">
    ${dryRun.data.counters.map((counter) => html`<li key=${counter.groupId}><bdi>${counter.label || counter.groupId}</bdi>: ${preview(counter)}<${Bar} counter=${counter} /></li>`)}
    ${dryRun.data.endedGroupIds.map((id) => html`<li key=${id}><bdi>${labels.get(id) ?? id}</bdi>: ends, unless a policy counts it</li>`)}
    ${dryRun.data.counters.length === 0 && html`<li>The plan has no groups that count per user.</li>`}
  </ul></div>`;
}
