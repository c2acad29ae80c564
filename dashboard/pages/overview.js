// Is the gateway healthy, who is out of quota or close to it, what changed today; and the last 30 days.

import { useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Chart, Share, dayName, daysBetween } from '../chart.js';
import { By } from '../by.js';
import { Bar, limitOf } from '../counter.js';
import { Looking, useBell, useHappening } from '../stream.js';
import { Badge, Elsewhere, Empty, ErrorBox, Heading, Loaded, Name, Table, Time, amount, figure, html, link, number, plural, unitName, useLoad } from '../ui.js';
import { Start } from './start.js';

const SHOWN = 8;
const SHOWN_CHANGES = 3;
/** The shortest time between two reads of the page. */
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
    title=${title} total=${amount(Number(total(name).toFixed(6)), unit)} series=${[{ title, values: days.map((day) => known.get(day)?.[name] ?? 0) }]} />`)}</div>
    ${!report.complete && html`<p class="quiet">Some of the newest events are not counted yet.</p>`}`;
}

function TopUsers({ report }) {
  const rows = report.data.filter((line) => line.by.user !== null && line.by.user !== '(other)').slice(0, SHOWN);
  const most = Math.max(0, ...rows.map((line) => line.calls));
  return html`<h2>Users with the most calls${report.when}</h2>
    ${report.tooMany ? html`<p class="quiet">There are too many users for one list.</p>` : html`<${Table} label="Users with the most calls" compact>
      <thead><tr><th>User</th><td></td><th class="figure">Calls</th><th class="figure">Denials</th><th class="figure">Cost${unitName('cents') ? ' (cents)' : ''}</th></tr></thead>
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
const Owner = ({ scope, inline = false }) => html`${Object.entries(scope).map(([name, value]) => {
  const owner = name === 'user' ? html`<${Name} text=${value} href=${link(['users', value])} />` : html`<span class="quiet">${name.replace('metadata.', '')}</span> <bdi class="name">${value}</bdi>`;
  return inline ? html`<span>${owner} </span>` : html`<div>${owner}</div>`;
})}`;

const Counters = ({ label, counters }) => html`<${Table} label=${label} compact>
  <thead><tr><th>Owner</th><th>Group</th><td></td><th class="figure">Used</th></tr></thead>
  <tbody>${counters.map((counter) => html`<tr key=${JSON.stringify(counter.scope) + counter.groupId}>
    <td><${Owner} scope=${counter.scope} /></td>
    <td><bdi>${counter.label || counter.groupId}</bdi></td>
    <td class="narrow"><${Bar} counter=${counter} /></td>
    <td class="figure">${figure(counter.used, counter.unit)} / ${amount(limitOf(counter), counter.unit)}<div class="quiet">${counter.resetsAt ? html`resets <${Time} at=${counter.resetsAt} />` : 'never resets'}</div></td>
  </tr>`)}</tbody>
<//>`;

const most = (count, more) => `${more ? 'at least ' : ''}${number(count)}`;

/** Counters of users, teams, keys and the app that are at their limits, and those that are near. */
function Limits({ limits }) {
  const { atLimit, near, groups, more } = limits;
  const sum = (name) => groups.reduce((sum, group) => sum + group[name], 0);
  return html`
    ${groups.length > 0 && html`<p class="row by-group">${groups.map((group) => html`<span class="part"><code>${group.groupId}</code> ${group.atLimit > 0 ? html`<${Badge} kind="bad">${most(group.atLimit, more)} used up<//>` : ''} ${group.near > 0 ? html`<${Badge} kind="warn">${most(group.near, more)} near<//>` : ''}</span>`)}</p>`}
    <div class="halves"><section><h3>Used up${atLimit.length < sum('atLimit') ? html` <span class="quiet">the fullest ${number(atLimit.length)}</span>` : ''}</h3>
    ${atLimit.length > 0 ? html`<${Counters} label="Used up" counters=${atLimit} />` : html`<p class="quiet">No counter is at its limit.</p>`}
    </section><section><h3>Near their limits${near.length < sum('near') ? html` <span class="quiet">the fullest ${number(near.length)}</span>` : ''}</h3>
    ${near.length > 0 ? html`<${Counters} label="Near their limits" counters=${near} />` : html`<p class="quiet">No counter is between 75 % and 100 % of its limit.</p>`}</section></div>
    <p class="quiet">Counters of users, teams, keys and the app. Windows shorter than a day are left out.${more ? ' There are more than these; these are the fullest.' : ''}${limits.complete ? '' : ' Some of the newest events are not counted yet.'}</p>`;
}

function Unusual({ fresh }) {
  const unusual = useLoad((signal) => api.get('reports/unusual?by=group', signal), [...inputs(), fresh]);
  return html`<h2>Unusual${unusual.data ? ` on ${dayName(unusual.data.day)}` : ''}</h2>
    <${Loaded} of=${unusual} what="unusual groups" empty=${html`<p class="quiet">No group differs from the days before.</p>`}>${() => html`<ul>${unusual.data.data.map((found) => html`<li>
      <code>${found.by.group ?? '–'}</code>: ${found.metric} ${number(found.value)}, on average ${number(Number(found.mean.toFixed(2)))} a day</li>`)}</ul>`}<//>`;
}

function Waiting({ fresh }) {
  const open = useLoad((signal) => api.get('approvals?status=open', signal), [...inputs(), fresh]);
  return html`<h2>Approvals</h2>
    <${Loaded} of=${open} what="requests">${() => html`<p>${open.data.data.length === 0
      ? html`<span class="quiet">No open requests.</span>`
      : html`<${Badge} kind="warn">${number(open.data.data.length)}${open.data.nextCursor ? ' and more' : ''} open<//> <a href=${link(['approvals'])}>Decide</a>`}</p>`}<//>`;
}

/** Is the gateway healthy? How the node that answers is, and which others serve on the same Redis. */
function Health({ fresh }) {
  const health = useLoad((signal) => api.readiness(signal), [fresh]);
  const nodes = useLoad((signal) => api.get('nodes', signal), [fresh]);
  const silent = (nodes.data?.data ?? []).filter((node) => node.silent);
  return html`<h2>Gateway</h2>
    <${Loaded} of=${health} what="the state of the gateway">${() => html`<p class="answer">${health.data.ready ? html`<${Badge} kind="good">ready<//>` : html`<${Badge} kind="bad">not ready<//>`}
      ${health.data.warnings.length > 0 ? html` <${Badge} kind="warn">${plural(health.data.warnings.length, 'warning')}<//>` : ''}
      <span class="quiet">${health.data.redisVersion ? ` Redis ${health.data.redisVersion}` : ''}</span></p>
      ${health.data.warnings.length > 0 && html`<ul class="plain">${health.data.warnings.map((warning) => html`<li>${warning}</li>`)}</ul>`}`}<//>
    <${Loaded} of=${nodes} what="nodes">${() => html`<details class="nodes"><summary>${plural(nodes.data.data.length, 'node')} ${silent.length > 0 ? html`<${Badge} kind="bad">${number(silent.length)} silent<//>` : ''}</summary>
      <${Table} label="Nodes"><thead><tr><th>Machine</th><th>Address</th><th>Version</th><th>Running since</th><th>State</th></tr></thead>
        <tbody>${nodes.data.data.map((node) => html`<tr key=${node.id}><td><bdi>${node.host || '–'}</bdi></td><td><code>${node.address}</code></td><td>${node.version}</td><td><${RealTime} at=${node.startedAt} /></td>
          <td>${node.silent ? html`<${Badge} kind="bad">silent<//> since <${RealTime} at=${node.seenAt} />` : html`<${Badge} kind="good">serves<//>`}</td></tr>`)}</tbody><//>
    </details>`}<//>`;
}

/** Who is out of quota, or close to it? */
function Quota({ limits }) {
  const { groups, more, atLimit, near } = limits;
  const sum = (name) => groups.reduce((sum, group) => sum + group[name], 0);
  const [out, close] = [sum('atLimit'), sum('near')];
  const first = [...atLimit, ...near].slice(0, 3);
  return html`<p class="answer">${out > 0 ? html`<${Badge} kind="bad">${most(out, more)} used up<//>` : html`<${Badge} kind="good">none used up<//>`}
      ${close > 0 ? html` <${Badge} kind="warn">${most(close, more)} near<//>` : ''}</p>
    <ul class="plain">${first.map((counter) => html`<li key=${JSON.stringify(counter.scope) + counter.groupId}><${Owner} scope=${counter.scope} inline /> <span class="quiet">· <bdi>${counter.label || counter.groupId}</bdi> ${counter.percentUsed === null ? '' : `${number(counter.percentUsed)} %`}</span></li>`)}</ul>`;
}

/** The calls of today beside those of yesterday, and the last changes by operators. */
function Today({ days, changes }) {
  const day = (ago) => new Date(api.now().getTime() - ago * 86_400_000).toISOString().slice(0, 10);
  const line = (ago) => days.data.find((one) => one.start === day(ago)) ?? { calls: 0, denials: 0 };
  const [today, yesterday] = [line(0), line(1)];
  // Changes are made in real time, whatever a test clock says.
  const began = `${new Date().toISOString().slice(0, 10)}T`;
  const made = (changes?.data ?? []).filter((change) => change.at.startsWith(began) && !change.action.startsWith('session.'));
  return html`<p class="answer">${plural(today.calls, 'call')}, ${today.denials > 0 ? html`<${Badge} kind="warn">${plural(today.denials, 'denial')}<//>` : 'no denials'}</p>
    <p class="quiet">Yesterday: ${plural(yesterday.calls, 'call')}, ${plural(yesterday.denials, 'denial')}</p>
    ${changes && (made.length === 0 ? html`<p class="quiet">No change by operators.</p>` : html`<ul class="plain">${made.slice(0, SHOWN_CHANGES).map((change) => html`<li key=${change.id}><${RealTime} at=${change.at} clock /> ${change.action} <bdi class="name">${change.target.split(':').slice(1).join(':')}</bdi> <span class="quiet">by <${By} id=${change.actor} /></span></li>`)}</ul>`)}
    <p><a href=${link(['audit'])}>All changes</a></p>`;
}

/** A time of the machines, whatever a sandbox's clock says. */
const RealTime = ({ at, clock = false }) => html`<time datetime=${at} title=${at}>${clock ? at.slice(11, 16) : at.slice(0, 16).replace('T', ' ')}</time>`;

const Quiet = () => html`<${Empty} title=${`No call in the last 30 days in ${api.placeWords()}`}>
  <p>This page shows what your application reserves, commits and tracks. <a href=${link(['start'])}>Three steps to the first call</a></p><${Elsewhere} /><//>`;

/** Read again when something has happened, while it is seen. What is shown stays until the new answer is there. */
function Everything() {
  const [fresh, setFresh] = useState(0);
  const full = useHappening(useBell(() => setFresh((fresh) => fresh + 1), FRESH_MS));
  const again = [...inputs(), fresh];
  const days = useLoad((signal) => api.get('reports/usage?period=day', signal), again);
  const limits = useLoad((signal) => api.get(`reports/limits${api.query({ limit: SHOWN })}`, signal), again);
  const changes = useLoad((signal) => api.get('audit?limit=10', signal), again);
  const none = days.data?.data.length === 0;
  return html`
    <${Heading} title="Overview" />
    <${Looking} full=${full} />
    <div class="answers">
      <section><${Health} fresh=${fresh} /></section>
      <section><h2>Quota</h2><${Loaded} of=${limits} what="limits">${() => html`<${Quota} limits=${limits.data} />`}<//></section>
      <section><h2>Today</h2><${Loaded} of=${days} what="today">${() => html`<${Today} days=${days.data} changes=${changes.data} />`}<//></section>
      <section><${Waiting} fresh=${fresh} /></section>
    </div>
    ${none ? html`<${ErrorBox} error=${days.error} /><${Quiet} />` : html`<${Month} days=${days} limits=${limits} fresh=${fresh} />`}`;
}

function Month({ days, limits, fresh }) {
  const again = [...inputs(), fresh];
  const users = useLoad(topUsers, again);
  const groups = useLoad((signal) => api.get(`reports/usage${top({ by: 'group' })}`, signal), again);
  return html`
    <h2>Limits</h2>
    <${Loaded} of=${limits} what="limits">${() => html`<${Limits} limits=${limits.data} />`}<//>
    <h2>The last 30 days</h2>
    <${Loaded} of=${days} what="reports">${() => html`<${Days} report=${days.data} />`}<//>
    <div class="halves">
      <section><${Loaded} of=${users} what="users">${() => html`<${TopUsers} report=${users.data} />`}<//></section>
      <section><${Loaded} of=${groups} what="groups">${() => html`<${TopGroups} report=${groups.data} />`}<//></section>
      <section><${Unusual} fresh=${fresh} /></section>
    </div>`;
}

/** Without a plan, the first steps. */
export function Overview() {
  const plans = useLoad((signal) => api.get('plans', signal), [api.place.app]);
  if (plans.data) return plans.data.data.length === 0 ? html`<${Start} />` : html`<${Everything} />`;
  return html`<${Heading} title="Overview" /><${Loaded} of=${plans} what="plans" />`;
}
