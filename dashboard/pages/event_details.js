// The details of one event, with a link to its explanation.

import { By } from '../by.js';
import { Badge, Name, Table, Time, Version, amount, html, link, number } from '../ui.js';

/** The page that explains an event: of a reservation its history, of other calls what would be decided now. */
export function explanation(event) {
  if (event.reservationId) return link(['explain'], { reservationId: event.reservationId });
  if (!event.userId || !event.event) return null;
  return link(['explain'], { userId: event.userId, event: event.event, quantity: event.quantity, metadata: Object.entries(event.metadata ?? {}).map(([name, value]) => `${name}=${value}`).join(', ') });
}

const owner = (scope) => Object.entries(scope ?? {}).map(([name, value]) => html`<div><span class="quiet">${name}</span> <bdi class="name">${value}</bdi></div>`);

export const Metadata = ({ metadata }) => {
  const all = Object.entries(metadata ?? {});
  return all.length === 0 ? html`<span class="quiet">none</span>` : all.map(([name, value]) => html`<div><span class="quiet">${name}</span> <bdi class="name">${value}</bdi></div>`);
};

const columns = {
  charges: ['Charged', ['Amount', 'Balance'], (line) => [amount(line.amount, line.unit), amount(line.balance, line.unit)]],
  denied: ['Over limit', ['Requested', 'Used and held', 'Limit'], (line) => [amount(line.requested, line.unit), amount(line.count, line.unit), amount(line.limit, line.unit)]],
  held: ['Released hold', ['Amount'], (line) => [amount(line.amount, line.unit)]],
};

function Amounts({ kind, lines }) {
  if (!lines?.length) return null;
  const [title, heads, cells] = columns[kind];
  return html`<${Table} label=${title}><thead><tr><th>${title}</th><th>Owner</th>${heads.map((head) => html`<th class="figure">${head}</th>`)}</tr></thead>
    <tbody>${lines.map((line) => html`<tr><td><code>${line.groupId}</code>${line.observed && html` <${Badge}>only observes<//>`}</td><td>${owner(line.scope)}</td>${cells(line).map((cell) => html`<td class="figure">${cell}</td>`)}</tr>`)}</tbody><//>`;
}

const Items = ({ items }) => html`<dt>Items</dt><dd>${items.map((item) => html`<div><bdi>${item.event}</bdi> × ${number(item.quantity ?? 1)} ${Object.entries(item.metadata).map(([name, value]) => html`<span class="quiet">${name}=</span><bdi>${value}</bdi> `)}</div>`)}</dd>`;

export function Details({ event }) {
  const why = explanation(event);
  return html`<dl class="facts">
      <dt>ID</dt><dd><${Name} text=${event.id} /></dd>
      <dt>Time</dt><dd><span class="part">${event.timestamp}</span>, recorded <${Time} at=${event.recordedAt} real /></dd>
      ${event.reservationId && html`<dt>Reservation</dt><dd><${Name} text=${event.reservationId} href=${link(['explain'], { reservationId: event.reservationId })} /></dd>`}
      ${event.eventId && html`<dt>Tracked as</dt><dd><${Name} text=${event.eventId} /></dd>`}
      ${event.keyId && html`<dt>Key</dt><dd><${By} id=${event.keyId} /> <span class="quiet"><${Name} text=${event.keyId} /></span></dd>`}
      ${event.planId && html`<dt>Plan</dt><dd><a href=${link(['plans', event.planId])}>${event.planId}</a> <${Version} number=${event.planVersion} /></dd>`}
      ${event.policies?.length > 0 && html`<dt>Policies</dt><dd>${event.policies.map((policy) => html`<div><a href=${link(['policies', policy.id])}>${policy.id}</a> <${Version} number=${policy.version} /></div>`)}</dd>`}
      ${event.items?.length > 0 ? html`<${Items} items=${event.items} />` : html`<dt>Metadata</dt><dd><${Metadata} metadata=${event.metadata} /></dd>`}
      ${event.call && html`<dt>${event.observed ? 'Allowed' : 'Refused'}</dt><dd>${event.call}${event.observed && ', since the limits below only observe'}</dd>`}
      ${event.degraded && html`<dt>Degraded</dt><dd>allowed while Redis was unavailable, and counted since</dd>`}
      ${event.errorCode && html`<dt>Error</dt><dd><bdi>${event.errorCode}</bdi></dd>`}
      ${event.outcomeBefore && html`<dt>Outcome before</dt><dd>${event.outcomeBefore}</dd>`}
    </dl>
    ${['charges', 'denied', 'held'].map((kind) => html`<${Amounts} kind=${kind} lines=${event[kind]} />`)}
    ${why && html`<p><a href=${why}>Explain ${event.reservationId ? 'this reservation' : 'such a call'}</a></p>`}`;
}
