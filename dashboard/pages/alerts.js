import { useEffect, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Badge, Elsewhere, Empty, Heading, Loaded, More, Table, Time, html, keepFilter, link, number, useFresh, usePages } from '../ui.js';
import { Scope } from './approvals.js';

const kinds = { 'limit.reached': 'bad', 'threshold.reached': 'warn', 'credits.low': 'warn', 'approval.requested': 'warn' };

/** Which types each choice shows. Subscriptions change so often that nothing else could be found among them. */
const choices = {
  limits: ['Limits, credits and approvals', (type) => type !== 'subscription.changed' && type !== 'reservation.expired'],
  subscriptions: ['Changed subscriptions', (type) => type === 'subscription.changed'],
  expired: ['Expired reservations', (type) => type === 'reservation.expired'],
  all: ['Everything', () => true],
};

/** Alerts of one call, and calls that are made by themselves until enough are shown. */
const PAGE = 200;
const ENOUGH = 25;
const MOST_PAGES = 10;

const textOf = ({ data, text }) => [text, data?.groupId, data?.subscription?.planId, ...Object.values(data?.scope ?? {})].join(' ').toLowerCase();

export function Alerts({ query }) {
  const [filter, setFilter] = useState({ show: choices[query.show] ? query.show : 'limits', search: query.search ?? '' });
  const [passed, setPassed] = useState(0);
  const pages = usePages('alerts', { limit: PAGE });
  useFresh(pages);
  const change = (changed) => {
    const next = { ...filter, ...changed };
    setFilter(next);
    setPassed(0);
    keepFilter(next);
  };
  const [, wanted] = choices[filter.show];
  const shown = pages.data.filter((alert) => wanted(alert.type) && textOf(alert).includes(filter.search.toLowerCase()));
  const looking = pages.current && pages.next !== null && !pages.error && shown.length < ENOUGH && passed < MOST_PAGES;
  useEffect(() => {
    if (!looking) return;
    setPassed(passed + 1);
    pages.loadMore();
  }, [looking, pages.next]);
  const empty = html`<${Empty} title=${`No alerts in ${api.placeWords()} yet`}>
    <p>This page lists crossed thresholds, low credits and approval requests. Give a limit group of a <a href=${link(['plans'])}>plan</a> or <a href=${link(['policies'])}>policy</a> alerts, such as at 80 %, to see when it fills.</p>
    <p>Reached limits, changed subscriptions and expired reservations are listed while a <a href=${link(['webhooks'])}>webhook</a> subscribes to them.</p><${Elsewhere} /><//>`;
  return html`
    <${Heading} title="Alerts" />
    <div class="filter">
      <select aria-label="Show" name="show" value=${filter.show} onChange=${(event) => change({ show: event.target.value })}>${Object.entries(choices).map(([name, [title]]) => html`<option value=${name}>${title}</option>`)}</select>
      <input type="search" data-search aria-label="Search alerts" placeholder="A user, team, group or plan" value=${filter.search} onInput=${(event) => change({ search: event.target.value })} />
    </div>
    <${Loaded} of=${pages} what="alerts" empty=${empty}>
      ${shown.length > 0 && html`<${Table} label="Alerts">
        <thead><tr><th>When</th><th>Event</th><th>About</th><th>Message</th></tr></thead>
        <tbody>${shown.map((alert) => html`<tr key=${alert.id}>
          <td><${Time} at=${alert.timestamp} /></td>
          <td class="lead"><${Badge} kind=${kinds[alert.type] ?? ''}>${alert.type}<//></td>
          <td>${alert.data?.groupId && html`<code>${alert.data.groupId}</code>`}<${Scope} scope=${alert.data?.scope ?? (alert.data?.userId ? { user: alert.data.userId } : {})} />
            ${alert.data?.subscription?.planId && html`<div><span class="quiet">plan</span> <a href=${link(['plans', alert.data.subscription.planId])}>${alert.data.subscription.planId}</a></div>`}</td>
          <td><bdi>${alert.text}</bdi></td>
        </tr>`)}</tbody>
      <//>`}
      ${shown.length === 0 && html`<p class="quiet" role="status">${looking ? 'Looking further back…' : `None of the newest ${number(pages.data.length)} alerts match.`}</p>`}
    <//>
    ${!looking && html`<${More} pages=${pages} />`}`;
}
