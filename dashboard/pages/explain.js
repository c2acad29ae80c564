// Why a call would be allowed or denied, and what became of a reservation.

import { useEffect, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Badge, Empty, ErrorBox, Field, Heading, Loading, Marked, Name, amount, faultsOf, html, keepFilter, link, metadataQuery, pairs, useLoad, useSettled } from '../ui.js';
import { Groups } from './explain_groups.js';
import { Reservation } from './explain_reservation.js';

const names = ['userId', 'event', 'quantity', 'metadata', 'key', 'reservationId'];

/** The call that is asked about, or null while too little is known. */
function questionOf({ reservationId, metadata, ...call }) {
  if (reservationId) return { reservationId };
  return call.userId && call.event ? { ...call, ...metadataQuery(pairs(metadata)) } : null;
}

function Verdict({ call }) {
  const invalid = call.errors.length > 0;
  return html`<div class="verdict" role="status">
    <p>${call.allowed ? html`<${Badge} kind="good">allowed<//>` : html`<${Badge} kind="bad">${invalid ? 'invalid' : 'denied'}<//>`} <strong><${Marked} text=${call.summary} /></strong>${call.reasons.map((reason) => html` <code class="quiet">${reason}</code>`)}</p>
    ${!call.userKnown && html`<p class="warning">The gateway has no data about this user in ${api.placeWords()}. User IDs are case-sensitive. <a href=${link(['users'], { search: call.userId })}>Search users</a></p>`}
    ${invalid && html`<ul>${call.errors.map((fault) => html`<li><code>${fault.field}</code> ${fault.message}</li>`)}</ul>`}
  </div>`;
}

function Facts({ call }) {
  const { plan, subscription } = call;
  return html`<dl class="facts">
    <dt>User</dt><dd><${Name} text=${call.userId} href=${link(['users', call.userId])} />${call.blocked && html` <${Badge} kind="bad">blocked<//>`}</dd>
    <dt>Plan</dt><dd>${plan ? html`<a href=${link(['plans', plan.id])}>${plan.id}</a>${plan.isDefault ? ' (default plan)' : ''}${plan.ownLimits ? ' (customised for this user)' : ''}` : 'none'}</dd>
    ${plan && html`<dt>Unmatched events</dt><dd>${plan.unmatchedEvents === 'allow' ? 'The plan allows events that match none of its limits.' : 'The plan denies events that match none of its limits.'}</dd>`}
    ${subscription?.endsAt && html`<dt>Ends</dt><dd>${subscription.endsAt}</dd>`}
    <dt>Call</dt><dd><bdi>${call.event}</bdi> × ${amount(call.quantity)} ${Object.entries(call.metadata).map(([name, value]) => html`<span class="quiet">${name}=</span><bdi>${value}</bdi> `)}</dd>
  </dl>`;
}

const Call = ({ call }) => html`<h2>Result</h2><${Verdict} call=${call} /><${Facts} call=${call} />
  <${Groups} groups=${call.groups} />`;

function Form({ typed, faults, set }) {
  const metadataFault = Object.entries(faults).find(([field]) => field.startsWith('metadata'))?.[1];
  const of = typed.reservationId !== '';
  const field = (name, title, rest = {}) => html`<${Field} label=${title} fault=${faults[name]}><input name=${name} spellcheck=${false} disabled=${of && name !== 'reservationId'} value=${typed[name]} onInput=${set(name)} ...${rest} /><//>`;
  return html`<form class="fields" onSubmit=${(event) => event.preventDefault()}>
    ${field('userId', 'User')}
    ${field('event', 'Event', { placeholder: 'image.render' })}
    ${field('quantity', 'Quantity', { inputmode: 'decimal', placeholder: '1' })}
    <${Field} label="Metadata" fault=${metadataFault}><input name="metadata" placeholder="team=red, size=1k" spellcheck=${false} disabled=${of} value=${typed.metadata} onInput=${set('metadata')} /><//>
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
  // While another call loads, the former answer is hidden.
  const answer = useLoad((signal) => (text ? api.get(`explain${text}`, signal).then((data) => ({ of: text, ...data })) : Promise.resolve(null)), [text, api.place.mode, api.place.app]);
  const set = (name) => (event) => setTyped((typed) => ({ ...typed, [name]: event.target.value }));
  const { faults, rest } = faultsOf(text && answer.error, (field) => names.includes(field) || field.startsWith('metadata'));
  const shown = text && !answer.error && answer.data?.of === text ? answer.data : null;
  return html`
    <${Heading} title="Explain" />
    <${Form} typed=${typed} faults=${faults} set=${set} />
    <${ErrorBox} error=${rest} retry=${answer.reload} />
    ${!text && html`<${Empty} title="Which call?"><p>Enter a user and an event. This page shows whether the call would be allowed now, and how each limit decides. It writes nothing.</p><p>Or enter a reservation ID to see its history.</p><//>`}
    ${text && !shown && !answer.error && html`<${Loading} what="the explanation" />`}
    ${shown?.call && html`<${Call} call=${shown.call} />`}
    ${shown?.reservation && html`<${Reservation} reservation=${shown.reservation} />`}`;
}
