// Why a call would be allowed or denied, and what became of a reservation.

import { useEffect, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Badge, Empty, ErrorBox, Field, Heading, Loading, Name, amount, faultsOf, html, keepFilter, link, metadataQuery, number, pairs, useLoad, useSettled, when } from '../ui.js';
import { Groups } from './explain_groups.js';
import { Reservation } from './explain_reservation.js';

const names = ['userId', 'event', 'quantity', 'metadata', 'key', 'reservationId'];

const reasons = {
  user_blocked: 'the user is blocked',
  no_subscription: 'the user has no subscription, and there is no default plan',
  unmatched_event: 'no group of the plan matches the event',
  uncovered_event: 'a group covers the event, and none of its rules matches it',
  missing_scope: 'a group needs a name that the call does not bring',
  call_too_large: 'the call is larger than a group allows for one',
  limit_reached: 'a group has no room for it',
  approval_required: 'a group has no room for it, and asks for approval',
};

/** The call that is asked about, or null while too little is known. */
function questionOf({ reservationId, metadata, ...call }) {
  if (reservationId) return { reservationId };
  return call.userId && call.event ? { ...call, ...metadataQuery(pairs(metadata)) } : null;
}

function Verdict({ call }) {
  const invalid = call.errors.length > 0;
  return html`<div class="verdict" role="status">
    <p>${call.allowed ? html`<${Badge} kind="good">allowed<//>` : html`<${Badge} kind="bad">${invalid ? 'invalid' : 'denied'}<//>`}
      ${call.reasons.map((reason) => html` <code>${reason}</code>: ${reasons[reason] ?? ''}`)}</p>
    ${invalid && html`<ul>${call.errors.map((fault) => html`<li><code>${fault.field}</code> ${fault.message}</li>`)}</ul>`}
    ${call.deniedBy.length > 0 && html`<ul>${call.deniedBy.map((by) => html`<li><code>${by.groupId}</code> was asked for ${number(by.requested)} and has ${number(by.remaining)} left${by.resetsAt ? `; it resets ${when(by.resetsAt)}` : ''}</li>`)}</ul>`}
  </div>`;
}

function Facts({ call }) {
  const { plan, subscription } = call;
  return html`<dl class="facts">
    <dt>User</dt><dd><${Name} text=${call.userId} href=${link(['users', call.userId])} />${call.blocked && html` <${Badge} kind="bad">blocked<//>`}</dd>
    <dt>Plan</dt><dd>${plan ? html`<a href=${link(['plans', plan.id])}>${plan.id}</a>${plan.isDefault ? ' (the app’s default)' : ''}${plan.ownLimits ? ' with limits of the user’s own' : ''}` : 'none'}</dd>
    ${plan && html`<dt>Without a match</dt><dd>${plan.unmatchedEvents === 'allow' ? 'the plan lets events pass that none of its groups matches' : 'the plan denies events that none of its groups matches'}</dd>`}
    ${subscription?.endsAt && html`<dt>Ends</dt><dd>${subscription.endsAt}</dd>`}
    <dt>Call</dt><dd><bdi>${call.event}</bdi> × ${amount(call.quantity)} ${Object.entries(call.metadata).map(([name, value]) => html`<span class="quiet">${name}=</span><bdi>${value}</bdi> `)}</dd>
  </dl>`;
}

const Call = ({ call }) => html`<h2>Verdict</h2><${Verdict} call=${call} /><${Facts} call=${call} />
  <${Groups} groups=${call.groups} />`;

function Form({ typed, faults, set }) {
  const metadataFault = Object.entries(faults).find(([field]) => field.startsWith('metadata'))?.[1];
  const of = typed.reservationId !== '';
  const field = (name, title, rest = {}) => html`<${Field} label=${title} fault=${faults[name]}><input name=${name} spellcheck=${false} disabled=${of && name !== 'reservationId'} value=${typed[name]} onInput=${set(name)} ...${rest} /><//>`;
  return html`<form class="fields" onSubmit=${(event) => event.preventDefault()}>
    ${field('userId', 'User')}
    ${field('event', 'Event', { placeholder: 'image.render' })}
    ${field('quantity', 'Quantity', { inputmode: 'decimal', placeholder: '1' })}
    <${Field} label="Metadata" hint="model=large, team=red" fault=${metadataFault}><input name="metadata" spellcheck=${false} disabled=${of} value=${typed.metadata} onInput=${set('metadata')} /><//>
    ${field('key', 'Key', { placeholder: 'key_…' })}
    ${field('reservationId', 'Or a reservation', { placeholder: 'rsv_…' })}
  </form>`;
}

export function Explain({ query }) {
  const [typed, setTyped] = useState(Object.fromEntries(names.map((name) => [name, query[name] ?? ''])));
  const settled = useSettled(typed, 300);
  useEffect(() => keepFilter(settled), [settled]);
  const question = questionOf(settled);
  const text = question && api.query(question);
  // Asked again for another call; what was told of the former one is not shown meanwhile.
  const answer = useLoad((signal) => (text ? api.get(`explain${text}`, signal).then((data) => ({ of: text, ...data })) : Promise.resolve(null)), [text, api.place.mode, api.place.app]);
  const set = (name) => (event) => setTyped((typed) => ({ ...typed, [name]: event.target.value }));
  const { faults, rest } = faultsOf(text && answer.error, (field) => names.includes(field) || field.startsWith('metadata'));
  const told = text && !answer.error && answer.data?.of === text ? answer.data : null;
  return html`
    <${Heading} title="Explain" />
    <${Form} typed=${typed} faults=${faults} set=${set} />
    <${ErrorBox} error=${rest} retry=${answer.reload} />
    ${!text && html`<${Empty} title="Which call?"><p>Name a user and an event: it is told whether such a call would be allowed now, and what each limit group makes of it. Nothing is written.</p><p>Or give the id of a reservation: it is told what became of it.</p><//>`}
    ${text && !told && !answer.error && html`<${Loading} what="the explanation" />`}
    ${told?.call && html`<${Call} call=${told.call} />`}
    ${told?.reservation && html`<${Reservation} reservation=${told.reservation} />`}`;
}
