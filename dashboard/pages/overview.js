// What happened in the last 30 days, and what wants looking at now.

import * as api from '../api.js';
import { Chart, Share, dayName, daysBetween } from '../chart.js';
import { Badge, Empty, ErrorBox, Heading, Loaded, Loading, Name, Table, Time, amount, html, link, number, plural, useLoad } from '../ui.js';
import { Start } from './start.js';

const SHOWN = 8;
/** Lines that are looked through for the ones at the top, in pages. */
const PAGE = 1000;
const MOST_PAGES = 5;

const figures = [
  ['calls', 'Calls', ''],
  ['denials', 'Denials', ''],
  ['expiries', 'Expiries', ''],
  ['cost', 'Cost', 'cents'],
];

const inputs = () => [api.place.mode, api.place.app];

/** All lines of a report, as far as that is reasonable. */
async function lines(query, signal) {
  const data = [];
  let cursor = null;
  let page = 0;
  do {
    const answer = await api.get(`reports/usage${api.query({ ...query, limit: PAGE, cursor })}`, signal);
    data.push(...answer.data);
    cursor = answer.nextCursor;
    page += 1;
  } while (cursor && page < MOST_PAGES);
  return { data, whole: cursor === null };
}

const top = (data) => [...data].sort((one, other) => other.calls - one.calls || other.denials - one.denials).slice(0, SHOWN);

function Days({ report }) {
  const days = daysBetween(report.from, report.to);
  const known = new Map(report.data.map((line) => [line.start, line]));
  const labels = days.map(dayName);
  const total = (name) => report.data.reduce((sum, line) => sum + line[name], 0);
  return html`<div class="charts">${figures.map(([name, title, unit]) => html`<${Chart} key=${name} labels=${labels} unit=${unit}
    title=${`${title}: ${amount(Number(total(name).toFixed(6)), unit)}`} series=${[{ title, values: days.map((day) => known.get(day)?.[name] ?? 0) }]} />`)}</div>
    ${!report.complete && html`<p class="quiet">So much came at once that some of it is not counted yet.</p>`}`;
}

function TopUsers({ report, whole }) {
  const rows = top(report).filter((line) => line.by.user !== null);
  const most = Math.max(0, ...rows.map((line) => line.calls));
  return html`<h2>Users with the most calls</h2>
    <${Table} label="Users with the most calls">
      <thead><tr><th>User</th><td></td><th class="figure">Calls</th><th class="figure">Denials</th><th class="figure">Cost</th></tr></thead>
      <tbody>${rows.map((line) => html`<tr key=${line.by.user}>
        <td><${Name} text=${line.by.user} href=${link(['users', line.by.user])} /></td>
        <td><${Share} value=${line.calls} most=${most} /></td>
        <td class="figure">${number(line.calls)}</td><td class="figure">${number(line.denials)}</td><td class="figure">${amount(line.cost, 'cents')}</td>
      </tr>`)}</tbody>
    <//>
    ${!whole && html`<p class="quiet">Of the first ${number(PAGE * MOST_PAGES)} users by name.</p>`}
    <p><a href=${link(['reports'], { by: 'user' })}>Report by user</a></p>`;
}

function TopGroups({ report }) {
  const rows = top(report).filter((line) => line.by.group !== null);
  const most = Math.max(0, ...rows.map((line) => line.calls));
  return html`<h2>Groups with the most calls</h2>
    <${Table} label="Groups with the most calls">
      <thead><tr><th>Group</th><td></td><th class="figure">Calls</th><th class="figure">Denials</th><th class="figure">Charged</th></tr></thead>
      <tbody>${rows.map((line) => html`<tr key=${line.by.group}>
        <td><a href=${link(['events'], { groupId: line.by.group })}><code>${line.by.group}</code></a></td>
        <td><${Share} value=${line.calls} most=${most} /></td>
        <td class="figure">${number(line.calls)}</td><td class="figure">${number(line.denials)}</td>
        <td class="figure">${line.charged.map((charge) => amount(charge.amount, charge.unit))}</td>
      </tr>`)}</tbody>
    <//>
    <p><a href=${link(['reports'], { by: 'group' })}>Report by group</a></p>`;
}

/** Counters of the busiest users that run out before their window ends, the soonest first. */
function RunningOut({ users }) {
  const names = users.map((line) => line.by.user).filter((user) => user !== null && user !== '(other)');
  const forecasts = useLoad((signal) => Promise.all(names.map((userId) => api.get(`reports/forecast${api.query({ userId })}`, signal))), [names.join('\n'), ...inputs()]);
  const soon = (forecasts.data ?? []).flatMap((forecast) => forecast.data.filter((counter) => counter.used >= counter.limit || counter.runsOutAt).map((counter) => ({ ...counter, userId: forecast.userId })));
  soon.sort((one, other) => Number(other.used >= other.limit) - Number(one.used >= one.limit) || Date.parse(one.runsOutAt) - Date.parse(other.runsOutAt));
  return html`<h2>Near their limits</h2>
    <${Loaded} of=${forecasts} what="forecasts">${() => soon.length === 0
      ? html`<p class="quiet">None of the busiest users runs out before a window ends.</p>`
      : html`<${Table} label="Near their limits">
        <thead><tr><th>User</th><th>Group</th><th class="figure">Used</th><th>Runs out</th></tr></thead>
        <tbody>${soon.slice(0, SHOWN).map((counter) => html`<tr key=${counter.userId + counter.groupId}>
          <td><${Name} text=${counter.userId} href=${link(['users', counter.userId])} /></td>
          <td><bdi>${counter.label || counter.groupId}</bdi></td>
          <td class="figure">${number(counter.used)} / ${amount(counter.limit, counter.unit)}</td>
          <td>${counter.used >= counter.limit ? html`<${Badge} kind="bad">used up<//>` : html`<${Badge} kind="warn">at this rate<//> <${Time} at=${counter.runsOutAt} />`}</td>
        </tr>`)}</tbody>
      <//>`}<//>`;
}

function Unusual() {
  const unusual = useLoad((signal) => api.get('reports/unusual?by=group', signal), inputs());
  return html`<h2>Unusual${unusual.data ? ` on ${dayName(unusual.data.day)}` : ''}</h2>
    <${Loaded} of=${unusual} what="what stands out" empty=${html`<p class="quiet">No group stands out against the days before.</p>`}>${() => html`<ul>${unusual.data.data.map((found) => html`<li>
      <code>${found.by.group ?? '–'}</code>: ${found.metric} ${number(found.value)}, on average ${number(Number(found.mean.toFixed(2)))} a day</li>`)}</ul>`}<//>`;
}

function Waiting() {
  const open = useLoad((signal) => api.get('approvals?status=open', signal), inputs());
  return html`<h2>Approvals</h2>
    <${Loaded} of=${open} what="requests">${() => html`<p>${open.data.data.length === 0
      ? html`<span class="quiet">Nothing waits for approval.</span>`
      : html`<${Badge} kind="warn">${number(open.data.data.length)}${open.data.nextCursor ? ' and more' : ''} open<//> <a href=${link(['approvals'])}>Decide</a>`}</p>`}<//>`;
}

function Health() {
  const health = useLoad((signal) => api.readiness(signal), []);
  return html`<h2>Gateway</h2>
    <${Loaded} of=${health} what="the state of the gateway">${() => html`<p>${health.data.ready ? html`<${Badge} kind="good">ready<//>` : html`<${Badge} kind="bad">not ready<//>`}
      <span class="quiet">${health.data.redisVersion ? ` Redis ${health.data.redisVersion}` : ''}</span></p>
      ${health.data.warnings.length > 0 && html`<ul>${health.data.warnings.map((warning) => html`<li>${warning}</li>`)}</ul>`}`}<//>`;
}

const Quiet = () => html`<${Empty} title="No call in the last 30 days">
  <p>What the application reserves, commits and tracks is shown here. <a href=${link(['start'])}>Three steps to the first call</a></p><//>`;

function Happened() {
  const days = useLoad((signal) => api.get('reports/usage?period=day', signal), inputs());
  const users = useLoad((signal) => lines({ by: 'user' }, signal), inputs());
  const groups = useLoad((signal) => lines({ by: 'group' }, signal), inputs());
  if (days.data && days.data.data.length === 0) return html`<${ErrorBox} error=${days.error} /><${Quiet} />`;
  return html`
    <h2>The last 30 days</h2>
    <${Loaded} of=${days} what="reports">${() => html`<${Days} report=${days.data} />`}<//>
    ${days.data && html`<div class="halves">
      <section><${Loaded} of=${users} what="users">${() => html`<${TopUsers} report=${users.data.data} whole=${users.data.whole} />`}<//></section>
      <section><${Loaded} of=${groups} what="groups">${() => html`<${TopGroups} report=${groups.data.data} />`}<//></section>
      <section>${users.data ? html`<${RunningOut} users=${top(users.data.data)} />` : html`<${Loading} what="forecasts" />`}</section>
      <section><${Unusual} /></section>
    </div>`}`;
}

/** Without a plan, the first steps. */
export function Overview() {
  const plans = useLoad((signal) => api.get('plans', signal), [api.place.app]);
  return html`<${Loaded} of=${plans} what="plans">${() => plans.data.data.length === 0 ? html`<${Start} />` : html`
    <${Heading} title="Overview"><span class="quiet">${plural(plans.data.data.length, 'plan')}</span><//>
    <div class="halves"><section><${Health} /></section><section><${Waiting} /></section></div>
    <${Happened} />`}<//>`;
}
