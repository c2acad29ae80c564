import { useEffect, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { By } from '../by.js';
import { Counter } from '../counter.js';
import { Looking, useBell, useStream, useThrottled } from '../stream.js';
import { Badge, Elsewhere, Empty, Heading, Loaded, Name, Table, Time, amount, html, link, number, useDialog, useLoad } from '../ui.js';
import { Cancel, GrantDialog, Move, Release, Reset, Revoke, SetBlocked } from './user_actions.js';
import { Credits } from './user_credits.js';
import { OwnLimits } from './user_limits.js';
import { Forecast, History, Recent, useForecast } from './user_past.js';
import { EditProfile, Tags } from './user_profile.js';

/** A user without data can be put on a plan. */
function Unknown({ id, reload }) {
  const dialog = useDialog();
  const nobody = { userId: id, subscription: null, counters: [] };
  return html`<${Empty} title="User not found">
    <p>There is no subscription, no call and no change of this user in ${api.placeWords()}. User IDs are case-sensitive. <a href=${link(['users'], { search: id })}>Search users</a></p>
    <${Elsewhere} />
    ${api.may('support') && html`<button type="button" class="primary" onClick=${() => dialog.show('move')}>Put on a plan</button>`}
  <//>
  ${dialog.open && html`<${Move} user=${nobody} close=${dialog.close} done=${reload} />`}`;
}

/** How often, at most, the state is read again while calls come in, and what is summed up from it. */
const STATE_MS = 1000;
const PAST_MS = 4000;

export function User({ id }) {
  const user = useLoad((signal) => api.get(api.path('users', id), signal), [id, api.place.mode, api.place.app]);
  const changed = useBell(user.reload, STATE_MS);
  const full = useStream((calls) => api.follow(id, changed, calls), changed, [id]);
  const past = useThrottled(user.data, PAST_MS);
  const dialog = useDialog();
  const data = user.data;
  const support = api.may('support');
  return html`
    <${Heading} name=${id}>
      <a class="button" href=${link(['explain'], { userId: id })}>Test a call</a>
      ${data && support && html`
        <button type="button" onClick=${() => dialog.show('profile')}>Name and tags</button>
        <button type="button" onClick=${() => dialog.show('move')}>${data.subscription ? 'Move to another plan' : 'Put on a plan'}</button>
        <button type="button" onClick=${() => dialog.show('reset', null)}>Reset counters</button>
        <button type="button" class=${data.blocked ? '' : 'danger'} onClick=${() => dialog.show('block')}>${data.blocked ? 'Unblock' : 'Block'}</button>`}
    <//>
    <${Looking} full=${full} />
    ${user.error?.code === 'not_found' && !data && html`<${Unknown} id=${id} reload=${user.reload} />`}
    ${(data || user.error?.code !== 'not_found') && html`<${Loaded} of=${user} what="the user">${() => html`
      <${Facts} user=${data} cancel=${support && data.subscription && !data.subscription.endsAt ? () => dialog.show('cancel') : null} limits=${support && data.subscription ? () => dialog.show('limits') : null} />
      <h2>Counters</h2>
      <${Counters} user=${data} past=${past} support=${support} dialog=${dialog} />
      <h2>Grants</h2>
      <${Grants} grants=${data.grants} revoke=${support ? (grant) => dialog.show('revoke', grant) : null} />
      <${Credits} counters=${data.counters} support=${support} done=${user.reload} />
      <h2>Open reservations</h2>
      <${Open} reservations=${data.openReservations} release=${support ? (reservation) => dialog.show('release', reservation) : null} />
      <h2>Windows</h2>
      <${History} userId=${id} state=${past} />
      <h2>Recent events</h2>
      <${Recent} userId=${id} state=${past} />
      <p><a href=${link(['audit'], { target: `user:${id}` })}>Changes by operators</a></p>`}
    <//>`}
    ${data && open(dialog, data, user.reload)}`;
}

function Counters({ user, past, support, dialog }) {
  const forecast = useForecast(user.userId, past);
  if (user.counters.length === 0) {
    return html`<${Empty} title="No limits apply to this user"><p>${user.planId ? 'The plan has no limit groups that apply.' : 'Every call is denied without a plan. Put the user on a plan.'}</p><//>`;
  }
  return html`<div class="counters">${user.counters.map((counter) => html`<${Counter} key=${counter.groupId} counter=${counter} note=${html`<${Forecast} counter=${counter} forecast=${forecast.get(counter.groupId)} />`}>
    ${support && counter.kind !== 'balance' && html`<button type="button" aria-label=${`Grant more ${counter.label || counter.groupId}`} onClick=${() => dialog.show('grant', counter)}>Grant</button>
      ${counter.scope.user !== undefined && html`<button type="button" aria-label=${`Reset ${counter.label || counter.groupId}`} onClick=${() => dialog.show('reset', counter)}>Reset</button>`}`}
  <//>`)}</div>`;
}

function open({ open, close }, user, reload) {
  const done = { user, close, done: reload };
  switch (open?.name) {
    case 'grant': return html`<${GrantDialog} ...${done} counter=${open.about} />`;
    case 'release': return html`<${Release} ...${done} reservation=${open.about} />`;
    case 'revoke': return html`<${Revoke} ...${done} grant=${open.about} />`;
    case 'profile': return html`<${EditProfile} ...${done} />`;
    case 'move': return html`<${Move} ...${done} />`;
    case 'block': return html`<${SetBlocked} ...${done} />`;
    case 'reset': return html`<${Reset} ...${done} counter=${open.about} />`;
    case 'limits': return html`<${OwnLimits} ...${done} />`;
    case 'cancel': return html`<${Cancel} ...${done} />`;
    default: return null;
  }
}

function Facts({ user, cancel, limits }) {
  const { subscription } = user;
  const plan = user.planId && html`<a href=${link(['plans', user.planId])}>${user.planId}</a>`;
  return html`<dl class="facts">
    ${(user.name || user.tags) && html`<dt>Name</dt><dd><bdi>${user.name}</bdi> <${Tags} tags=${user.tags} /></dd>`}
    <dt>State</dt><dd>${user.blocked ? html`<${Badge} kind="bad">blocked<//> every call is denied` : html`<${Badge} kind="good">active<//>`}</dd>
    <dt>Plan</dt><dd>${plan ?? 'none'}${plan && !subscription ? ' (default plan)' : ''}${subscription?.customLimits ? ' (customised)' : ''}</dd>
    ${subscription && html`
      <dt>Since</dt><dd><${Time} at=${subscription.startedAt} /></dd>
      <dt>Ends</dt><dd class="row"><${Time} at=${subscription.endsAt} never="not planned" />${cancel && html`<button type="button" class="danger" onClick=${cancel}>Cancel the subscription</button>`}</dd>`}
    ${subscription && (subscription.customLimits || limits) && html`<dt>Custom limits</dt><dd class="row">${subscription.customLimits ? html`<${Own} limits=${subscription.customLimits} />` : 'none'}
      ${limits && html`<button type="button" onClick=${limits}>Change limits</button>`}</dd>`}
  </dl>`;
}

/** Quotas by group, or the body of a whole plan. */
function Own({ limits }) {
  if (Array.isArray(limits.groups)) return html`<details><summary>a custom plan</summary><pre>${JSON.stringify(limits, null, 2)}</pre></details>`;
  return html`<span>${Object.entries(limits).map(([group, { quota }], at) => html`${at > 0 && ', '}<code>${group}</code> ${quota === null ? 'without limit' : number(Number(quota))}`)}</span>`;
}

function Grants({ grants, revoke }) {
  if (grants.length === 0) return html`<p class="quiet">No active grants.</p>`;
  return html`<${Table} label="Grants">
    <thead><tr><th>Group</th><th class="figure">Amount</th><th>Ends</th><th>Note</th><th>Created</th><td></td></tr></thead>
    <tbody>${grants.map((grant) => html`<tr key=${grant.id}>
      <td><code>${grant.groupId}</code></td>
      <td class="figure">${amount(grant.amount, grant.unit)}</td>
      <td>${grant.expiresAt ? html`<${Time} at=${grant.expiresAt} />` : html`with the window: <${Time} at=${grant.endsAt} never="never" />`}</td>
      <td>${grant.note && html`<bdi>${grant.note}</bdi>`}</td>
      <td><${Time} at=${grant.createdAt} /> <span class="quiet">by <${By} id=${grant.createdBy} /></span></td>
      <td class="end">${revoke && html`<button type="button" class="danger" onClick=${() => revoke(grant)}>Revoke grant</button>`}</td>
    </tr>`)}</tbody>
  <//>`;
}

/** Renders again each second, so that times tick. */
function useTick(running) {
  const [, setTick] = useState(0);
  useEffect(() => {
    if (!running) return undefined;
    const timer = setInterval(() => setTick((tick) => tick + 1), 1000);
    return () => clearInterval(timer);
  }, [running]);
}

function Open({ reservations, release }) {
  useTick(reservations.length > 0);
  if (reservations.length === 0) return html`<p class="quiet">No open reservations.</p>`;
  return html`<${Table} label="Open reservations">
    <thead><tr><th>Reservation</th><th>Event</th><th class="figure">Held</th><th class="spacious">Created</th><th>Expires</th><td></td></tr></thead>
    <tbody>${reservations.map((reservation) => html`<tr key=${reservation.reservationId}>
      <td><${Name} text=${reservation.reservationId} href=${link(['explain'], { reservationId: reservation.reservationId })} /></td>
      <td><bdi>${reservation.event}</bdi></td>
      <td class="figure">${reservation.held.map((held) => html`<div>${amount(held.amount, held.unit)} <code>${held.groupId}</code></div>`)}</td>
      <td class="spacious"><${Time} at=${reservation.createdAt} /></td>
      <td><${Time} at=${reservation.expiresAt} /></td>
      <td class="end">${release && html`<button type="button" class="danger" aria-label=${`Release ${reservation.reservationId}`} onClick=${() => release(reservation)}>Release</button>`}</td>
    </tr>`)}</tbody>
  <//>`;
}
