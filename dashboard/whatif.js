// Replays recent events under a draft, before it is saved.

import { useState } from './vendor/hooks.js';
import * as api from './api.js';
import { Badge, ErrorBox, Field, Name, Table, Time, amount, html, link, number, plural, useLoad } from './ui.js';

/** How many of the newest events are replayed. */
const choices = [[5_000, 'the last 5,000 events'], [20_000, 'the last 20,000 events'], [50_000, 'the last 50,000 events']];

const cents = (value) => amount(value, 'cents');

/** With its sign. */
const difference = (before, after, text) => {
  const by = Number((after - before).toFixed(6));
  return by === 0 ? 'no change' : `${by > 0 ? '+' : '−'}${text(Math.abs(by))}`;
};

const counts = (sums) => Object.entries(sums).map(([name, count]) => html`<span class="part"><code>${name}</code> ${number(count)}</span> `);

/** How far the replay itself is from what happened. */
function Accuracy({ of }) {
  const share = of.agree === of.calls ? '100' : Math.min(99.9, Math.round((of.agree / of.calls) * 1000) / 10);
  const why = `${number(of.agree)} of ${number(of.calls)} calls are decided as they were. Plans, grants and quotas may have changed since; only their present state is known.`;
  return html`<span class="part" title=${why}>Accuracy of the replay: <strong>${share} %</strong></span>`;
}

function Span({ report }) {
  if (report.calls === 0) return html`<p>No call is recorded here, so there is nothing to compare.</p>`;
  return html`<p>${plural(report.calls, 'call')} from <${Time} at=${report.since} /> to <${Time} at=${report.until} />, replayed under the present rules and under this draft. Tracked events count as they happened. <${Accuracy} of=${report.presentRules} /></p>`;
}

/** @type {[string, string, (value: number) => string][]} */
const sides = [['Allowed', 'allowed', number], ['Denied', 'denied', number], ['Cost', 'cents', cents]];
/** Without a group of cents there is no cost. */
const shown = ({ present, underDraft }) => sides.filter(([, field]) => field !== 'cents' || present.cents || underDraft.cents);

const Sides = ({ report }) => html`<${Table} label="Before and after" compact>
  <thead><tr><td></td><th class="figure">Present rules</th><th class="figure">This draft</th><th class="figure">Difference</th></tr></thead>
  <tbody>
    ${shown(report).map(([title, field, text]) => html`<tr key=${field}>
      <th scope="row">${title}</th><td class="figure">${text(report.present[field])}</td><td class="figure">${text(report.underDraft[field])}</td>
      <td class="figure">${difference(report.present[field], report.underDraft[field], text)}</td></tr>`)}
  </tbody>
<//>`;

function Changed({ title, changed, kind }) {
  if (changed.calls === 0) return html`<h3>${title}</h3><p class="quiet">None.</p>`;
  return html`<h3>${title} <${Badge} kind=${kind}>${plural(changed.calls, 'call')} of ${plural(changed.users, 'user')}<//></h3>
    <p>${Object.keys(changed.byGroup).length > 0 ? html`<span class="quiet">By group:</span> ${counts(changed.byGroup)}` : html`<span class="quiet">By reason:</span> ${counts(changed.byReason)}`}</p>
    <details><summary>${changed.examples.length < changed.calls ? `The first ${number(changed.examples.length)}` : 'Each of them'}</summary>
      <${Table} label=${title}>
        <thead><tr><th>When</th><th>User</th><th>Event</th><th>Why</th></tr></thead>
        <tbody>${changed.examples.map((example) => html`<tr>
          <td><${Time} at=${example.at} /></td>
          <td><${Name} text=${example.userId} href=${link(['users', example.userId])} /></td>
          <td><bdi class="name">${example.event}</bdi></td>
          <td>${example.groups.length === 0 ? html`<code>${example.reason}</code>` : example.groups.map((counter) => html`<div><code>${counter.groupId}</code> ${number(counter.count)} + ${number(counter.requested)} of ${number(counter.limit)}</div>`)}</td>
        </tr>`)}</tbody>
      <//>
    </details>`;
}

const Users = ({ users }) => html`<h3>Users most affected</h3>
  <${Table} label="Users most affected">
    <thead><tr><th>User</th><th class="figure">Newly denied</th><th class="figure">Newly allowed</th><th class="figure">Cost, present rules</th><th class="figure">Cost, this draft</th></tr></thead>
    <tbody>${users.map((user) => html`<tr key=${user.userId}>
      <td><${Name} text=${user.userId} href=${link(['users', user.userId])} /></td>
      <td class="figure">${number(user.newlyDenied)}</td><td class="figure">${number(user.newlyAllowed)}</td>
      <td class="figure">${cents(user.centsPresent)}</td><td class="figure">${cents(user.centsDraft)}</td>
    </tr>`)}</tbody>
  <//>`;

/** What the replay does not know. */
function Notes({ report }) {
  const notes = [];
  const causes = { time: 'Reading took too long', size: 'The events are too large' };
  if (report.cut) notes.push(`${causes[report.cut] ?? 'There are more events'}, so only the newest ${plural(report.entries, 'event')} are replayed. Counters begin with their known amounts, those of new groups at 0.`);
  else if (!report.whole) notes.push('Older events are deleted. Counters begin with what was used before the oldest event.');
  if (report.unmeasured > 0) notes.push(`${plural(report.unmeasured, 'call')} without a field that this draft measures: the held amount counts.`);
  if (report.unreadOwners > 0) notes.push(`The own limits of ${plural(report.unreadOwners, 'owner')} were not read, since there are too many: the quotas of the limit groups apply to them.`);
  return html`<ul class="quiet notes">${notes.map((note) => html`<li>${note}</li>`)}</ul>`;
}

const Report = ({ report }) => html`<div class="whatif" role="status">
  <${Span} report=${report} />
  ${report.calls > 0 && html`<${Sides} report=${report} />
    <${Changed} title="Newly denied" changed=${report.newlyDenied} kind="bad" />
    <${Changed} title="Newly allowed" changed=${report.newlyAllowed} kind="good" />
    ${report.observed.calls > 0 && html`<${Changed} title="Allowed, since the limit only observes" changed=${report.observed} kind="warn" />`}
    ${report.mostAffected.length > 0 && html`<${Users} users=${report.mostAffected} />`}`}
  <${Notes} report=${report} />
</div>`;

/**
 * Replays recent events under a draft. `text` is the document as JSON. An answer belongs to one text and is hidden when
 * the text changes.
 * @param {{kind: {path: string, title: string}, id: string, text: string, readable: boolean, exists: boolean}} given
 */
export function Whatif({ kind, id, text, readable, exists }) {
  const [entries, setEntries] = useState(choices[1][0]);
  const [of, setOf] = useState('');
  const [state, setState] = useState({ busy: false, error: null, report: null, about: '' });
  const isPlan = kind.path === 'plans';
  const plans = useLoad((signal) => (isPlan && !exists ? api.get('plans', signal) : Promise.resolve({ data: [] })), [isPlan, exists, api.place.app]);
  const about = JSON.stringify([id, text, entries, of, api.place.mode]);
  const needsUsers = isPlan && !exists;
  const ask = async () => {
    setState({ busy: true, error: null, report: null, about });
    try {
      const draft = { ...JSON.parse(text), id };
      const report = await api.send('POST', 'whatif', { [isPlan ? 'plan' : 'policy']: draft, usersOf: of || undefined, entries });
      setState({ busy: false, error: null, report, about });
    } catch (error) {
      setState({ busy: false, error, report: null, about });
    }
  };
  const current = state.about === about;
  return html`<section class="try"><h2>Replay</h2>
    <div class="row">
      ${needsUsers && html`<${Field} label="Replay with users of plan"><select name="of" value=${of} onChange=${(event) => setOf(event.target.value)}>
        <option value="">choose a plan</option>${(plans.data?.data ?? []).map((plan) => html`<option value=${plan.id}>${plan.id}</option>`)}</select><//>`}
      <${Field} label="Look at"><select name="entries" value=${entries} onChange=${(event) => setEntries(Number(event.target.value))}>${choices.map(([count, title]) => html`<option value=${count}>${title}</option>`)}</select><//>
      <button type="button" disabled=${(state.busy && current) || !id || !readable || (needsUsers && !of)} onClick=${ask}>${state.busy && current ? 'Replaying…' : 'Try on recent events'}</button>
    </div>
    ${current && html`<${ErrorBox} error=${state.error} retry=${state.error?.status === 429 ? ask : undefined} />`}
    ${current && state.report && html`<${Report} report=${state.report} />`}
    ${!current && state.report && html`<p class="quiet" role="status">The draft has changed since this replay.</p>`}
  </section>`;
}
