// The ledger and the denials, live.

import { useEffect, useRef, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Looking, useStream } from '../stream.js';
import { Badge, Elsewhere, Empty, ErrorBox, Field, Heading, Loading, More, Table, Time, amount, faultsOf, html, keepFilter, link, metadataQuery, number, pairs, usePages, useSettled } from '../ui.js';
import { Details, explanation } from './event_details.js';

const types = ['commit', 'draw', 'release', 'track', 'refund', 'reset', 'rollover', 'expire', 'outcome', 'credit', 'lapse', 'void', 'denial'];
const kinds = { denial: 'bad', expire: 'warn', commit: 'good', track: 'good' };
const texts = [
  ['userId', 'User', ''],
  ['event', 'Event', 'a name or a glob'],
  ['groupId', 'Group', ''],
  ['reservationId', 'Reservation', 'rsv_…'],
  ['keyId', 'Key', 'key_…'],
  ['reason', 'Reason', 'limit_reached'],
];
const names = ['type', ...texts.map(([name]) => name), 'metadata', 'outcome', 'from', 'to'];
/** Live events that the page keeps. */
const MOST_LIVE = 500;

/** `datetime-local` has no zone; all times here are UTC. */
const instant = (text) => (text ? `${text.length === 16 ? `${text}:00` : text}Z` : '');

const filterOf = ({ metadata, from, to, ...rest }) => ({ ...rest, ...metadataQuery(pairs(metadata)) });

export const Charges = ({ event }) => [...event.charges.map((charge) => ({ ...charge, text: charge.rolled === undefined ? amount(charge.amount, charge.unit) : `${amount(charge.rolled, charge.unit)} rolled over` })),
  ...(event.denied ?? []).map((counter) => ({ ...counter, text: `${amount(counter.requested, counter.unit)} requested` })),
  ...(event.held ?? []).map((held) => ({ ...held, text: `${amount(held.amount, held.unit)} expired` }))].map((line, at) => html`${at > 0 && ' · '}<span class="part">${line.text} <code>${line.groupId}</code></span>`);

/** Why it was denied or ended, and what came of it. Without any of that nothing, so that a card has no empty line for it. */
const causes = (event) => [
  event.reason && html`<code>${event.reason}</code>`,
  event.outcome,
  event.type === 'denial' && explanation(event) && html`<a class="why" href=${explanation(event)} aria-label=${`Why ${event.event} ${event.observed ? 'would be' : 'was'} denied`}>Why</a>`,
].filter(Boolean);

function Row({ event, mine, open, toggle }) {
  return html`<tr data-event=${event.id}>
    <td><button type="button" class="small" aria-expanded=${open ? 'true' : 'false'} aria-label=${`Details of ${event.type} ${event.id}`} onClick=${toggle}>${open ? '▾' : '▸'}</button> <${Time} at=${event.timestamp} /></td>
    <td class="lead"><${Badge} kind=${event.observed ? undefined : kinds[event.type]}>${event.type}<//>${event.late && html` <${Badge} kind="warn">late<//>`}${event.degraded && html` <${Badge} kind="warn">degraded<//>`}${event.observed && html` <${Badge} kind="warn">observed<//>`}</td>
    ${!mine && html`<td class="user">${event.userId && html`<a href=${link(['users', event.userId])}><bdi class="name">${event.userId}</bdi></a>`}</td>`}
    <td class="event"><bdi class="name">${event.event}</bdi>${event.items?.length > 1 && html` <span class="quiet">and ${number(event.items.length - 1)} more</span>`}</td>
    <td class="figure">${event.quantity === undefined ? '' : number(event.quantity)}</td>
    <td><${Charges} event=${event} /></td>
    <td>${causes(event).map((cause, at) => html`${at > 0 && ' '}${cause}`)}</td>
  </tr>
  ${open && html`<tr class="details"><td colspan=${mine ? 6 : 7}><${Details} event=${event} /></td></tr>`}`;
}

/**
 * @param {{events: any[], mine?: boolean}} given `mine`: they are all of the one user whom the page is about
 */
export function EventTable({ events, mine = false }) {
  const [open, setOpen] = useState(null);
  return html`<${Table} label="Events">
    <thead><tr><th>When</th><th>Type</th>${!mine && html`<th>User</th>`}<th>Event</th><th class="figure">Quantity</th><th>Charged</th><th>Reason, outcome</th></tr></thead>
    <tbody>${events.map((event) => html`<${Row} key=${event.id} event=${event} mine=${mine} open=${open === event.id} toggle=${() => setOpen(open === event.id ? null : event.id)} />`)}</tbody>
  <//>`;
}

/** Events that come while they are followed, the newest first. */
function useLive(on, filter, reload) {
  const [live, setLive] = useState([]);
  const last = useRef('');
  const name = api.query(filter);
  useEffect(() => {
    last.current = '';
    setLive([]);
  }, [name, on, api.place.mode, api.place.app]);
  const received = (event, id) => {
    if (id) last.current = id;
    if (event) setLive((live) => [event, ...live.filter((one) => one.id !== event.id)].slice(0, MOST_LIVE));
  };
  // What came between the list and the stream is in the list that is read once the stream is open.
  const open = (calls) => {
    if (!on) return () => {};
    const started = () => {
      calls.started();
      reload();
    };
    return api.followEvents(filter, last.current, { ...calls, started, received });
  };
  const full = useStream(open, () => on && reload(), [name, on]);
  return { live, full: on && full };
}

function Filter({ typed, faults, set }) {
  const metadataFault = Object.entries(faults).find(([field]) => field.startsWith('metadata'))?.[1];
  return html`<form class="fields" onSubmit=${(event) => event.preventDefault()}>
    <${Field} label="Type" fault=${faults.type}><select name="type" value=${typed.type} onChange=${set('type')}><option value="">any</option>${types.map((type) => html`<option value=${type}>${type}</option>`)}</select><//>
    ${texts.map(([name, title, example]) => html`<${Field} key=${name} label=${title} fault=${faults[name]}><input name=${name} type="search" placeholder=${example} value=${typed[name]} onInput=${set(name)} /><//>`)}
    <${Field} label="Metadata" fault=${metadataFault}><input name="metadata" type="search" placeholder="team=red, size=1k" value=${typed.metadata} onInput=${set('metadata')} /><//>
    <${Field} label="Outcome" fault=${faults.outcome}><select name="outcome" value=${typed.outcome} onChange=${set('outcome')}><option value="">any</option><option value="accepted">accepted</option><option value="rejected">rejected</option></select><//>
    <${Field} label="From (UTC)" fault=${faults.from}><input name="from" type="datetime-local" value=${typed.from} onInput=${set('from')} /><//>
    <${Field} label="To (UTC)" fault=${faults.to}><input name="to" type="datetime-local" value=${typed.to} onInput=${set('to')} /><//>
  </form>`;
}

export function Events({ query }) {
  const [typed, setTyped] = useState(Object.fromEntries([...names, 'live'].map((name) => [name, query[name] ?? ''])));
  const settled = useSettled(typed, 250);
  useEffect(() => keepFilter(settled), [settled]);
  const { live: on, ...given } = settled;
  const filter = filterOf(given);
  const pages = usePages('events', { ...filter, from: instant(given.from), to: instant(given.to) });
  const { live, full } = useLive(on === '1', filter, pages.reload);
  const { faults, rest } = faultsOf(pages.error, (field) => names.includes(field) || field.startsWith('metadata'));
  const set = (name) => (event) => setTyped((typed) => ({ ...typed, [name]: event.target.value }));
  const follow = (event) => setTyped((typed) => ({ ...typed, live: event.target.checked ? '1' : '', ...(event.target.checked ? { from: '', to: '' } : {}) }));
  const filtered = names.some((name) => given[name]);
  const listed = new Set(pages.data.map((event) => event.id));
  const events = [...live.filter((event) => !listed.has(event.id)), ...pages.data];
  return html`
    <${Heading} title="Events"><label class="check"><input type="checkbox" name="live" checked=${typed.live === '1'} onChange=${follow} /> Follow live</label><//>
    <${Looking} full=${full} />
    <${Filter} typed=${typed} faults=${faults} set=${set} />
    <${ErrorBox} error=${rest} retry=${pages.reload} />
    ${!pages.loaded && !pages.error && html`<${Loading} what="events" />`}
    ${pages.loaded && !pages.error && (events.length === 0
      ? html`<${Empty} title=${filtered ? `No event in ${api.placeWords()} matches` : `No events in ${api.placeWords()} yet`}>
        <p>This page lists commits, tracked events, releases, expiries and denials, the newest first. ${filtered ? 'Change or empty a field above.' : html`<a href=${link(['start'])}>Three steps to the first call</a>`}</p><${Elsewhere} /><//>`
      : html`<${EventTable} events=${events} /><${More} pages=${pages} />`)}`;
}
