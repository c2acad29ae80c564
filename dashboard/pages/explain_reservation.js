// The history of a reservation: its request, how each limit counted it, and its entries in the ledger.

import { By } from '../by.js';
import { windowWords } from '../counter.js';
import { Badge, Name, Table, Time, Version, amount, html, link, number } from '../ui.js';
import { Metadata } from './event_details.js';
import { Groups } from './explain_groups.js';

const kinds = { committed: 'good', held: '', released: '', expired: 'warn' };

const Versions = ({ kind, list }) => list.map((one) => html`<div><a href=${link([kind, one.id])}>${one.id}</a> <${Version} number=${one.version} /></div>`);

/** The learned estimates that the reserve used. */
const estimatesOf = (reservation) => reservation.items.flatMap((item) => Object.entries(item.estimated ?? {}));

const Facts = ({ reservation }) => html`<dl class="facts">
  <dt>Reservation</dt><dd><${Name} text=${reservation.reservationId} /></dd>
  <dt>State</dt><dd><${Badge} kind=${kinds[reservation.status]}>${reservation.status}<//>${reservation.late && html` <${Badge} kind="warn">late<//>`} ${reservation.outcome}</dd>
  ${reservation.userId && html`<dt>User</dt><dd><${Name} text=${reservation.userId} href=${link(['users', reservation.userId])} /></dd>`}
  ${reservation.event && html`<dt>Event</dt><dd><bdi>${reservation.event}</bdi></dd>`}
  <dt>Created</dt><dd><${Time} at=${reservation.createdAt} />${reservation.keyId && html` <span class="quiet">by <${By} id=${reservation.keyId} /></span>`}</dd>
  ${reservation.expiresAt && html`<dt>Expires</dt><dd><${Time} at=${reservation.expiresAt} /></dd>`}
  ${reservation.plan && html`<dt>Plan</dt><dd><${Versions} kind="plans" list=${[reservation.plan]} /></dd>`}
  ${reservation.policies.length > 0 && html`<dt>Policies</dt><dd><${Versions} kind="policies" list=${reservation.policies} /></dd>`}
  ${reservation.fitted && html`<dt>Fitted</dt><dd><bdi>${reservation.fitted.field}</bdi> ${number(reservation.fitted.value)} <span class="quiet">of ${number(reservation.fitted.wish)}, at least ${number(reservation.fitted.min)}</span></dd>`}
  ${estimatesOf(reservation).length > 0 && html`<dt>Estimated</dt><dd>${estimatesOf(reservation).map(([field, value]) => html`<div><bdi>${field}</bdi> ${number(value)}</div>`)}</dd>`}
</dl>`;

/** The credit that covered a part, and the limit that it exceeds. */
const Credit = ({ part }) => (part.creditId ? html`<div class="quiet"><bdi>${part.creditId}</bdi>${part.from && html`, beyond <code>${part.from}</code>`}</div>` : null);

/** The window of a quota; nothing beside the credit that covered a part. */
function windowOf({ period, kind, creditId }) {
  if (kind === 'balance') return creditId ? '' : 'no credit';
  return period ? windowWords(period) : 'over';
}

const Counters = ({ counters }) => html`<h2>Held and charged</h2>${counters.length === 0
  ? html`<p class="quiet">Nothing, or the record has expired.</p>`
  : html`<${Table} label="Held and charged"><thead><tr><th>Group</th><th>Window</th><th class="figure">Held</th><th class="figure">Charged</th></tr></thead>
    <tbody>${counters.map((counter) => html`<tr><td><code>${counter.groupId}</code><${Credit} part=${counter} /></td><td>${windowOf(counter)}</td>
      <td class="figure">${amount(counter.held, counter.unit)}</td><td class="figure">${amount(counter.charged, counter.unit)}</td></tr>`)}</tbody><//>`}`;

const Entries = ({ entries, complete }) => html`<h2>Ledger entries</h2>${entries.length === 0
  ? html`<p class="quiet">No entry yet. The ledger gets one when the reservation is committed, released or expires.</p>`
  : html`<${Table} label="Ledger entries"><thead><tr><th>When</th><th>Type</th><th class="figure">Charged</th><th class="figure">Balance</th><th>Reason, outcome</th></tr></thead>
    <tbody>${entries.map((entry) => html`<tr key=${entry.id}><td><${Time} at=${entry.at} /></td><td><${Badge}>${entry.type}<//>${entry.late && html` <${Badge} kind="warn">late<//>`}</td>
      <td class="figure">${entry.charges.map((charge) => html`<div>${amount(charge.change, charge.unit)} <code>${charge.groupId}</code><${Credit} part=${charge} /></div>`)}</td>
      <td class="figure">${entry.charges.map((charge) => html`<div>${amount(charge.balance, charge.unit)}</div>`)}</td>
      <td>${[entry.reason, entry.errorCode, entry.outcome].filter(Boolean).map((word, at) => html`${at > 0 && ' '}<bdi>${word}</bdi>`)}</td></tr>`)}</tbody><//>`}
  ${!complete && html`<p class="quiet">There are too many ledger entries to search all of them.</p>`}`;

export const Reservation = ({ reservation }) => html`
  <h2>Reservation</h2><${Facts} reservation=${reservation} />
  <${Entries} entries=${reservation.entries} complete=${reservation.entriesComplete} />
  <${Counters} counters=${reservation.counters} />
  ${reservation.items.map((item) => html`<h2>The call <bdi>${item.event}</bdi> × ${number(item.quantity)}</h2><${Metadata} metadata=${item.metadata} /><${Groups} groups=${item.groups} />`)}`;
