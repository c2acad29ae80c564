// What happened in the last 30 days, and what wants looking at now.

import { useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Chart, Share, dayName, daysBetween } from '../chart.js';
import { Bar } from '../counter.js';
import { Looking, useBell, useHappening } from '../stream.js';
import { Badge, Empty, ErrorBox, Heading, Loaded, Name, Table, Time, amount, figure, html, link, number, plural, useLoad } from '../ui.js';
import { Start } from './start.js';

const SHOWN = 8;
/** While calls come in, the page is read again this often at most. */
const FRESH_MS = 5000;

const figures = [
  ['calls', 'Calls', ''],
  ['denials', 'Denials', ''],
  ['expiries', 'Expiries', ''],
  ['cost', 'Cost', 'cents'],
];

const inputs = () => [api.place.mode, api.place.app];

const top = (query) => api.query({ ...query, top: 'calls', limit: SHOWN + 1 });

/** The users with the most calls: of 30 days, or where those are too many users for one report, of today. */
async function topUsers(signal) {
  const today = api.now().toISOString().slice(0, 10);
  for (const [from, when] of [[undefined, ''], [today, ' today']]) {
    try {
      return { ...(await api.get(`reports/usage${top({ by: 'user', from })}`, signal)), when };
    } catch (error) {
      if (error.code !== 'invalid_request') throw error;
    }
  }
  return { data: [], when: '', tooMany: true };
}

function Days({ report }) {
  const days = daysBetween(report.from, report.to);
  const known = new Map(report.data.map((line) => [line.start, line]));
  const labels = days.map(dayName);
  const total = (name) => report.data.reduce((sum, line) => sum + line[name], 0);
  return html`<div class="charts">${figures.map(([name, title, unit]) => html`<${Chart} key=${name} labels=${labels} unit=${unit}
    title=${`${title}: ${amount(Number(total(name).toFixed(6)), unit)}`} series=${[{ title, values: days.map((day) => known.get(day)?.[name] ?? 0) }]} />`)}</div>
    ${!report.complete && html`<p class="quiet">So much came at once that some of it is not counted yet.</p>`}`;
}

function TopUsers({ report }) {
  const rows = report.data.filter((line) => line.by.user !== null && line.by.user !== '(other)').slice(0, SHOWN);
  const most = Math.max(0, ...rows.map((line) => line.calls));
  return html`<h2>Users with the most calls${report.when}</h2>
    ${report.tooMany ? html`<p class="quiet">Too many users made calls for one list.</p>` : html`<${Table} label="Users with the most calls" compact>
      <thead><tr><th>User</th><td></td><th class="figure">Calls</th><th class="figure">Denials</th><th class="figure">Cents</th></tr></thead>
      <tbody>${rows.map((line) => html`<tr key=${line.by.user}>
        <td><${Name} text=${line.by.user} href=${link(['users', line.by.user])} /></td>
        <td><${Share} value=${line.calls} most=${most} /></td>
        <td class="figure">${number(line.calls)}</td><td class="figure">${number(line.denials)}</td><td class="figure">${figure(line.cost, 'cents')}</td>
      </tr>`)}</tbody>
    <//>`}
    <p><a href=${link(['reports'], { by: 'user', metric: 'calls' })}>Report by user</a></p>`;
}

function TopGroups({ report }) {
  const rows = report.data.filter((line) => line.by.group !== null).slice(0, SHOWN);
  const most = Math.max(0, ...rows.map((line) => line.calls));
  return html`<h2>Groups with the most calls</h2>
    <${Table} label="Groups with the most calls" compact>
      <thead><tr><th>Group</th><td></td><th class="figure">Calls</th><th class="figure">Denials</th><th class="figure">Charged</th></tr></thead>
      <tbody>${rows.map((line) => html`<tr key=${line.by.group}>
        <td><a href=${link(['events'], { groupId: line.by.group })}><code>${line.by.group}</code></a></td>
        <td><${Share} value=${line.calls} most=${most} /></td>
        <td class="figure">${number(line.calls)}</td><td class="figure">${number(line.denials)}</td>
        <td class="figure">${line.charged.map((charge) => amount(charge.amount, charge.unit))}</td>
      </tr>`)}</tbody>
    <//>
    <p><a href=${link(['reports'], { by: 'group', metric: 'calls' })}>Report by group</a></p>`;
}

/** Whose counter it is: a user by a link, a team, a key, the app. */
const Owner = ({ scope }) => html`${Object.entries(scope).map(([name, value]) => html`<div>${name === 'user'
  ? html`<${Name} text=${value} href=${link(['users', value])} />`
  : html`<span class="quiet">${name.replace('metadata.', '')}</span> <bdi class="name">${value}</bdi>`}</div>`)}`;

const Counters = ({ label, counters }) => html`<${Table} label=${label} compact>
  <thead><tr><th>Whose</th><th>Group</th><td></td><th class="figure">Used</th></tr></thead>
  <tbody>${counters.map((counter) => html`<tr key=${JSON.stringify(counter.scope) + counter.groupId}>
    <td><${Owner} scope=${counter.scope} /></td>
    <td><bdi>${counter.label || counter.groupId}</bdi></td>
    <td class="narrow"><${Bar} counter=${counter} /></td>
    <td class="figure">${figure(counter.used, counter.unit)} / ${amount(counter.quota + counter.granted, counter.unit)}<div class="quiet">${counter.resetsAt ? html`resets <${Time} at=${counter.resetsAt} />` : 'never resets'}</div></td>
  </tr>`)}</tbody>
<//>`;

const most = (count, more) => `${more ? 'at least ' : ''}${number(count)}`;

/** Counters of users, teams, keys and the app that are at their limits, and those that are near. */
function Limits({ limits }) {
  const { atLimit, near, groups, more } = limits;
  const sum = (name) => groups.reduce((sum, group) => sum + group[name], 0);
  return html`
    ${groups.length > 0 && html`<p>${groups.map((group) => html`<span class="part"><code>${group.groupId}</code> ${group.atLimit > 0 ? html`<${Badge} kind="bad">${most(group.atLimit, more)} used up<//>` : ''} ${group.near > 0 ? html`<${Badge} kind="warn">${most(group.near, more)} near<//>` : ''}</span> `)}</p>`}
    <div class="halves"><section><h3>Near their limits${near.length < sum('near') ? html` <span class="quiet">the fullest ${number(near.length)}</span>` : ''}</h3>
    ${near.length > 0 ? html`<${Counters} label="Near their limits" counters=${near} />` : html`<p class="quiet">No counter has used three quarters of its limit without using all of it.</p>`}
    </section><section><h3>Used up${atLimit.length < sum('atLimit') ? html` <span class="quiet">the fullest ${number(atLimit.length)}</span>` : ''}</h3>
    ${atLimit.length > 0 ? html`<${Counters} label="Used up" counters=${atLimit} />` : html`<p class="quiet">No counter has used all of its limit.</p>`}</section></div>
    <p class="quiet">Of users, teams, keys and the app; windows shorter than a day are left out.${more ? ' More counters are full or near than are kept track of; these are the fullest.' : ''}${limits.complete ? '' : ' So much came at once that some of it is not looked at yet.'}</p>`;
}

function Unusual({ fresh }) {
  const unusual = useLoad((signal) => api.get('reports/unusual?by=group', signal), [...inputs(), fresh]);
  return html`<h2>Unusual${unusual.data ? ` on ${dayName(unusual.data.day)}` : ''}</h2>
    <${Loaded} of=${unusual} what="what stands out" empty=${html`<p class="quiet">No group stands out against the days before.</p>`}>${() => html`<ul>${unusual.data.data.map((found) => html`<li>
      <code>${found.by.group ?? '–'}</code>: ${found.metric} ${number(found.value)}, on average ${number(Number(found.mean.toFixed(2)))} a day</li>`)}</ul>`}<//>`;
}

function Waiting({ fresh }) {
  const open = useLoad((signal) => api.get('approvals?status=open', signal), [...inputs(), fresh]);
  return html`<h2>Approvals</h2>
    <${Loaded} of=${open} what="requests">${() => html`<p>${open.data.data.length === 0
      ? html`<span class="quiet">Nothing waits for approval.</span>`
      : html`<${Badge} kind="warn">${number(open.data.data.length)}${open.data.nextCursor ? ' and more' : ''} open<//> <a href=${link(['approvals'])}>Decide</a>`}</p>`}<//>`;
}

/** How the node that answers is, and which others serve on the same Redis. */
function Health({ fresh }) {
  const health = useLoad((signal) => api.readiness(signal), [fresh]);
  const nodes = useLoad((signal) => api.get('nodes', signal), [fresh]);
  const silent = (nodes.data?.data ?? []).filter((node) => node.silent);
  return html`<h2>Gateway</h2>
    <${Loaded} of=${health} what="the state of the gateway">${() => html`<p>${health.data.ready ? html`<${Badge} kind="good">ready<//>` : html`<${Badge} kind="bad">not ready<//>`}
      <span class="quiet">${health.data.redisVersion ? ` Redis ${health.data.redisVersion}` : ''}</span></p>
      ${health.data.warnings.length > 0 && html`<ul>${health.data.warnings.map((warning) => html`<li>${warning}</li>`)}</ul>`}`}<//>
    <${Loaded} of=${nodes} what="nodes">${() => html`<details class="nodes"><summary>${plural(nodes.data.data.length, 'node')} ${silent.length > 0 ? html`<${Badge} kind="bad">${number(silent.length)} silent<//>` : ''}</summary>
      <${Table} label="Nodes"><thead><tr><th>Machine</th><th>Address</th><th>Version</th><th>Running since</th><th>State</th></tr></thead>
        <tbody>${nodes.data.data.map((node) => html`<tr key=${node.id}><td><bdi>${node.host || '–'}</bdi></td><td><code>${node.address}</code></td><td>${node.version}</td><td><${RealTime} at=${node.startedAt} /></td>
          <td>${node.silent ? html`<${Badge} kind="bad">silent<//> since <${RealTime} at=${node.seenAt} />` : html`<${Badge} kind="good">serves<//>`}</td></tr>`)}</tbody><//>
    </details>`}<//>`;
}

/** A time of the machines, whatever a sandbox's clock says. */
const RealTime = ({ at }) => html`<time datetime=${at} title=${at}>${at.slice(0, 16).replace('T', ' ')}</time>`;

const Quiet = () => html`<${Empty} title="No call in the last 30 days">
  <p>What the application reserves, commits and tracks is shown here. <a href=${link(['start'])}>Three steps to the first call</a></p><//>`;

function Happened({ fresh }) {
  const again = [...inputs(), fresh];
  const days = useLoad((signal) => api.get('reports/usage?period=day', signal), again);
  const users = useLoad(topUsers, again);
  const groups = useLoad((signal) => api.get(`reports/usage${top({ by: 'group' })}`, signal), again);
  const limits = useLoad((signal) => api.get(`reports/limits${api.query({ limit: SHOWN })}`, signal), again);
  if (days.data && days.data.data.length === 0) return html`<${ErrorBox} error=${days.error} /><${Quiet} />`;
  return html`
    <h2>The last 30 days</h2>
    <${Loaded} of=${days} what="reports">${() => html`<${Days} report=${days.data} />`}<//>
    ${days.data && html`
      <h2>Limits</h2>
      <${Loaded} of=${limits} what="limits">${() => html`<${Limits} limits=${limits.data} />`}<//>
      <div class="halves">
        <section><${Loaded} of=${users} what="users">${() => html`<${TopUsers} report=${users.data} />`}<//></section>
        <section><${Loaded} of=${groups} what="groups">${() => html`<${TopGroups} report=${groups.data} />`}<//></section>
        <section><${Unusual} fresh=${fresh} /></section>
      </div>`}`;
}

/** Read again when something has happened, while it is seen. */
function Everything() {
  const [fresh, setFresh] = useState(0);
  const full = useHappening(useBell(() => setFresh((fresh) => fresh + 1), FRESH_MS));
  return html`
    <${Heading} title="Overview" />
    <${Looking} full=${full} />
    <div class="halves"><section><${Health} fresh=${fresh} /></section><section><${Waiting} fresh=${fresh} /></section></div>
    <${Happened} fresh=${fresh} />`;
}

/** Without a plan, the first steps. */
export function Overview() {
  const plans = useLoad((signal) => api.get('plans', signal), [api.place.app]);
  if (plans.data) return plans.data.data.length === 0 ? html`<${Start} />` : html`<${Everything} />`;
  return html`<${Heading} title="Overview" /><${Loaded} of=${plans} what="plans" />`;
}
