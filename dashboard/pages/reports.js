// What happened, summed as one likes: as totals, as a chart, as a table, as CSV. The address says all of it.

import { useEffect, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Elsewhere, Empty, ErrorBox, Field, Heading, Loading, html, faultsOf, figure, keepFilter, link, metadataQuery, pairs, useLoad, useSettled } from '../ui.js';
import { ReportChart } from './report_chart.js';
import { change as changeWords, columnsOf } from './report_columns.js';
import { RANKED, readReport } from './report_data.js';
import { presets } from './report_range.js';
import { ReportTable } from './report_table.js';

const names = ['from', 'to', 'period', 'by', 'event', 'userId', 'keyId', 'groupId', 'metadata', 'ratio', 'metric', 'sort', 'columns', 'compare'];
const dimensions = [['group', 'Group'], ['user', 'User'], ['event', 'Event'], ['key', 'Key']];
const filters = [
  ['event', 'Event', 'a name or a glob'],
  ['userId', 'User', ''],
  ['groupId', 'Group', ''],
  ['keyId', 'Key', 'key_…'],
];
const hidden = ['event', 'userId', 'groupId', 'keyId', 'metadata', 'ratio'];

const split = (text) => text.split(',').map((name) => name.trim()).filter(Boolean);

/** What the address says, as the call wants it. */
function callOf({ from, to, period, by, event, userId, keyId, groupId, metadata, ratio }) {
  return { from, to, period, by, event, userId, keyId, groupId, ...metadataQuery(pairs(metadata)), ratio: ratio.split('\n').map((one) => one.trim()).filter(Boolean) };
}

/** Metadata fields of `by`, as they are typed: `model, team`. */
const fieldsIn = (by) => split(by).filter((name) => name.startsWith('metadata.')).map((name) => name.slice('metadata.'.length)).join(', ');

/** Without `by` there is always a line, of zeros if nothing happened. */
const isQuiet = (line) => ['calls', 'denials', 'observed', 'draws', 'released', 'expiries', 'late', 'refunds'].every((name) => !line[name]) && line.charged.length === 0;

/** Reports that are asked for most, each one click away. */
function Ready() {
  const days = Object.fromEntries(presets().map(({ title, from, to }) => [title, { from, to }]));
  const all = [
    ['Yesterday’s cost by model', { ...days.Yesterday, by: 'metadata.model', metric: 'cost' }],
    ['Cost by user, last 7 days', { ...days['Last 7 days'], by: 'user', metric: 'cost' }],
    ['Denials by group, today', { ...days.Today, by: 'group', metric: 'denials' }],
    ['Observed denials by group, last 7 days', { ...days['Last 7 days'], by: 'group', metric: 'observed' }],
    ['Calls by day, this month', { ...days['This month'], period: 'day' }],
  ];
  return html`<nav class="row ready" aria-label="Ready reports">${all.map(([title, query]) => html`<a href=${link(['reports'], query)}>${title}</a>`)}</nav>`;
}

function By({ by, period, faults, change }) {
  const [fields, setFields] = useState(fieldsIn(by));
  const chosen = split(by).filter((name) => !name.startsWith('metadata.'));
  const say = (chosen, fields) => change({ by: [...chosen, ...split(fields).map((name) => `metadata.${name}`)].join(',') });
  const toggle = (name) => (event) => say(event.target.checked ? [...chosen, name] : chosen.filter((one) => one !== name), fields);
  const type = (event) => {
    setFields(event.target.value);
    say(chosen, event.target.value);
  };
  return html`<fieldset class="by"><legend>Group by</legend>
    <div class="row">${dimensions.map(([name, title]) => html`<label class="check"><input type="checkbox" name=${`by-${name}`} checked=${chosen.includes(name)} onChange=${toggle(name)} /> ${title}</label>`)}
      <${Field} label="Metadata" fault=${faults.by}><input name="by-metadata" placeholder="model, team" value=${fields} onInput=${type} /><//>
      <${Field} label="Time" fault=${faults.period}><select name="period" value=${period} onChange=${(event) => change({ period: event.target.value })}>
        ${[['', 'total'], ['day', 'day'], ['week', 'week'], ['month', 'month']].map(([value, title]) => html`<option value=${value}>${title}</option>`)}</select><//></div>
  </fieldset>`;
}

/** @param {{typed: any, shown: {from: string, to: string}, faults: any, change: (changed: object) => void}} given `shown`: the days of the report on the page */
function Days({ typed, shown, faults, change }) {
  const days = { from: typed.from || shown.from, to: typed.to || shown.to };
  const set = (name) => (event) => change({ ...days, [name]: event.target.value });
  return html`<div class="row days">
    <div class="row" role="group" aria-label="Days">${presets().map(({ title, from, to }) => html`<button type="button" key=${title} aria-pressed=${days.from === from && days.to === to} onClick=${() => change({ from, to })}>${title}</button>`)}</div>
    <div class="row dates"><${Field} label="From" fault=${faults.from}><input type="date" name="from" max=${days.to} value=${days.from} onInput=${set('from')} /><//>
    <${Field} label="To" fault=${faults.to}><input type="date" name="to" min=${days.from} value=${days.to} onInput=${set('to')} /><//></div>
  </div>`;
}

function Filters({ typed, faults, change }) {
  const set = (name) => (event) => change({ [name]: event.target.value });
  const metadataFault = Object.entries(faults).find(([field]) => field.startsWith('metadata'))?.[1];
  const [open] = useState(hidden.some((name) => typed[name]));
  const count = hidden.filter((name) => typed[name]).length;
  return html`<details class="more" open=${open}><summary>Filters and ratios${count > 0 ? ` (${count})` : ''}</summary>
    <div class="fields">
      ${filters.map(([name, title, example]) => html`<${Field} key=${name} label=${title} fault=${faults[name]}><input name=${name} type="search" placeholder=${example} value=${typed[name]} onInput=${set(name)} /><//>`)}
      <${Field} label="Metadata values" hint="Such as model=large, team=red." fault=${metadataFault}><input name="metadata" value=${typed.metadata} onInput=${set('metadata')} /><//>
      <${Field} label="Ratios" hint="One per line, such as cost/accepted." fault=${faults.ratio}><textarea name="ratio" rows="2" spellcheck=${false} value=${typed.ratio} onInput=${set('ratio')}></textarea><//>
    </div></details>`;
}

/** The sums of the whole report, and how they differ from the period before. */
function Totals({ report, metric }) {
  const { totals, totalsBefore, past } = report;
  if (!totals) return null;
  const columns = columnsOf([totals]).filter((column) => ['calls', 'denials', 'observed', 'cost', metric?.name].includes(column.name));
  return html`<dl class="totals">${columns.map((column) => html`<div key=${column.name}><dt>${column.title}</dt><dd>${figure(column.read(totals), column.unit)}
    ${totalsBefore && html` <span class="quiet" title=${`${past.from} to ${past.to}: ${figure(column.read(totalsBefore), column.unit)}`}>${changeWords(column.read(totals), column.read(totalsBefore) ?? 0)}</span>`}</dd></div>`)}</dl>
    ${totalsBefore && html`<p class="quiet">Changes compared with ${past.from === past.to ? past.from : `${past.from} to ${past.to}`}.</p>`}`;
}

function Columns({ columns, chosen, change }) {
  const toggle = (name) => (event) => {
    const next = columns.filter((column) => (column.name === name ? event.target.checked : chosen.has(column.name)));
    change({ columns: next.map((column) => column.name).join(',') });
  };
  return html`<details class="columns"><summary>Columns</summary><div class="row">${columns.map((column) => html`<label class="check" key=${column.name}><input type="checkbox" name=${`column-${column.name}`} checked=${chosen.has(column.name)} onChange=${toggle(column.name)} /> ${column.title}</label>`)}</div></details>`;
}

/** Says what the lines are, where they are not all of them. */
function Part({ report, metric }) {
  if (report.cut) return html`<p class="notice">There are more than ${report.lines.length.toLocaleString('en')} lines. These are the first of them by name, so they are not ranked. Choose calls, denials, observed denials or cost to see the largest of all, or narrow the filters.</p>`;
  if (report.ranked) return html`<p class="quiet">These are the ${report.lines.length.toLocaleString('en')} lines with the largest ${metric.title.toLowerCase()} of all. The CSV has every line.</p>`;
  return null;
}

function Body({ report, typed, change }) {
  const timed = typed.period !== '';
  const columns = columnsOf(report.lines);
  const oneUnit = new Set(report.lines.flatMap((line) => line.charged.map((charge) => charge.unit))).size <= 1;
  const offered = columns.filter((column) => !column.name.startsWith('denied.') && (column.unit !== 'line' || oneUnit));
  const metric = offered.find((column) => column.name === typed.metric) ?? offered[0];
  const chosen = new Set(typed.columns ? split(typed.columns) : columns.filter((column) => column.usual || column === metric).map((column) => column.name));
  const whole = !report.cut && !report.ranked;
  const choose = (sort) => change(whole ? { sort } : { sort: '', metric: sort.replace('-', '') });
  const sort = typed.sort && whole ? typed.sort : timed || report.cut ? '' : metric.name;
  return html`
    <${Totals} report=${report} metric=${metric} />
    <div class="filter">
      <${Field} label="Measure"><select name="metric" value=${metric.name} onChange=${(event) => change({ metric: event.target.value, sort: '' })}>${offered.map((column) => html`<option value=${column.name}>${column.title}</option>`)}</select><//>
      ${!timed && typed.by && html`<label class="check"><input type="checkbox" name="compare" checked=${typed.compare === '1'} onChange=${(event) => change({ compare: event.target.checked ? '1' : '' })} /> Compare with ${report.past.from === report.past.to ? report.past.from : `${report.past.from} to ${report.past.to}`}</label>`}
    </div>
    <${Part} report=${report} metric=${metric} />
    ${!report.cut && html`<${ReportChart} report=${report} metric=${metric} timed=${timed} />`}
    <${Columns} columns=${columns} chosen=${chosen} change=${change} />
    <${ReportTable} report=${report} columns=${columns.filter((column) => chosen.has(column.name))} metric=${metric} timed=${timed} sort=${sort} sortable=${(name) => whole || (!timed && RANKED.includes(name))} choose=${choose} />`;
}

/** A file name that says what is in it, such as `usage-acme-live-2027-01-30-to-2027-01-31-by-model.csv`. */
function fileName({ from, to, by }) {
  const days = from === to ? [from] : [from, 'to', to];
  const parts = ['usage', api.place.session.app ?? api.place.app, api.place.mode, ...days, ...(by ? ['by', ...split(by).map((name) => name.replace('metadata.', ''))] : [])];
  return `${parts.join('-').replace(/[^A-Za-z0-9._-]+/g, '-')}.csv`;
}

export function Reports({ query }) {
  const [typed, setTyped] = useState(Object.fromEntries(names.map((name) => [name, query[name] ?? ''])));
  const settled = useSettled(typed, 300);
  const call = callOf(settled);
  const metric = settled.metric || 'calls';
  const compare = settled.compare === '1';
  // Sorting and columns need nothing of the gateway.
  const report = useLoad((signal) => readReport({ call, metric, compare }, signal), [api.query(call), RANKED.includes(metric) ? metric : '', compare, api.place.mode, api.place.app]);
  const data = report.data;
  const shown = { from: data?.from ?? '', to: data?.to ?? '' };
  const { mode, app } = api.place;
  useEffect(() => {
    // The address names days, mode and app, so everybody who opens it sees the same report.
    keepFilter({ ...settled, from: settled.from || shown.from, to: settled.to || shown.to, mode, app: api.isRoot() ? app : '' });
  }, [settled, shown.from, shown.to]);
  const change = (changed) => setTyped((typed) => ({ ...typed, ...changed }));
  const { faults, rest } = faultsOf(report.error, (field) => names.includes(field) || field.startsWith('metadata'));
  const [saving, setSaving] = useState({ busy: false, error: null });
  const save = async () => {
    setSaving({ busy: true, error: null });
    const days = { from: settled.from || shown.from, to: settled.to || shown.to };
    const error = await api.download(`reports/usage${api.query({ ...call, format: 'csv' })}`, fileName({ ...days, by: settled.by })).then(() => null, (error) => error);
    setSaving({ busy: false, error });
  };
  const quiet = data && data.lines.every(isQuiet);
  return html`
    <${Heading} title="Reports"><button type="button" disabled=${saving.busy || report.error !== null} onClick=${save}>Download CSV</button><//>
    <${Ready} />
    <form class="report-form" onSubmit=${(event) => event.preventDefault()}>
      <${Days} typed=${typed} shown=${shown} faults=${faults} change=${change} />
      <${By} by=${typed.by} period=${typed.period} faults=${faults} change=${change} />
      <${Filters} typed=${typed} faults=${faults} change=${change} />
    </form>
    <${ErrorBox} error=${saving.error ?? rest} retry=${rest ? report.reload : null} />
    ${!data && !report.error && html`<${Loading} what="the report" />`}
    ${data && !report.error && !data.complete && html`<p class="quiet">Some of the newest events are not counted yet.</p>`}
    ${data && !report.error && (quiet
      ? html`<${Empty} title=${`No events in ${api.placeWords()}`}><p>No call, denial or expiry between ${data.from} and ${data.to} matches. Choose other days or filters.</p><${Elsewhere} /><//>`
      : html`<${Body} report=${data} typed=${settled} change=${change} />`)}`;
}
