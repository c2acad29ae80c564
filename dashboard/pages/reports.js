// What happened, summed as one likes: as a chart, as a table, as CSV.

import { useEffect, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Empty, ErrorBox, Field, Heading, Loading, More, html, faultsOf, keepFilter, metadataQuery, pairs, usePages, useSettled } from '../ui.js';
import { ReportChart, metrics } from './report_chart.js';
import { ReportTable } from './report_table.js';

const names = ['from', 'to', 'period', 'by', 'event', 'userId', 'keyId', 'groupId', 'metadata', 'ratio', 'metric'];
const dimensions = [['group', 'Group'], ['user', 'User'], ['event', 'Event'], ['key', 'Key']];
const filters = [
  ['event', 'Event', 'a name or a glob'],
  ['userId', 'User', ''],
  ['groupId', 'Group', ''],
  ['keyId', 'Key', 'key_…'],
];

const split = (text) => text.split(',').map((name) => name.trim()).filter(Boolean);

/** What the address says, as the call wants it. */
function callOf({ metric, metadata, ratio, ...rest }) {
  return { ...rest, ...metadataQuery(pairs(metadata)), ratio: ratio.split('\n').map((one) => one.trim()).filter(Boolean) };
}

/** Metadata fields of `by`, as they are typed: `model, team`. */
const fieldsIn = (by) => split(by).filter((name) => name.startsWith('metadata.')).map((name) => name.slice('metadata.'.length)).join(', ');

/** Without `by` there is always a line, of zeros if nothing happened. */
const isQuiet = (line) => ['calls', 'denials', 'draws', 'released', 'expiries', 'late', 'refunds'].every((name) => !line[name]) && line.charged.length === 0;

function By({ by, fault, change }) {
  const [fields, setFields] = useState(fieldsIn(by));
  const chosen = split(by).filter((name) => !name.startsWith('metadata.'));
  const say = (chosen, fields) => change([...chosen, ...split(fields).map((name) => `metadata.${name}`)].join(','));
  const toggle = (name) => (event) => say(event.target.checked ? [...chosen, name] : chosen.filter((one) => one !== name), fields);
  const type = (event) => {
    setFields(event.target.value);
    say(chosen, event.target.value);
  };
  return html`<fieldset><legend>By</legend>
    <div class="row">${dimensions.map(([name, title]) => html`<label class="check"><input type="checkbox" name=${`by-${name}`} checked=${chosen.includes(name)} onChange=${toggle(name)} /> ${title}</label>`)}</div>
    <${Field} label="Metadata" hint="Fields, such as model, team." fault=${fault}><input name="by-metadata" value=${fields} onInput=${type} /><//>
  </fieldset>`;
}

function Form({ typed, faults, set, change }) {
  const metadataFault = Object.entries(faults).find(([field]) => field.startsWith('metadata'))?.[1];
  return html`<form class="report-form" onSubmit=${(event) => event.preventDefault()}>
    <div class="fields">
      <${Field} label="From" fault=${faults.from}><input type="date" name="from" value=${typed.from} onInput=${set('from')} /><//>
      <${Field} label="To" fault=${faults.to}><input type="date" name="to" value=${typed.to} onInput=${set('to')} /><//>
      <${Field} label="A line for each" fault=${faults.period}><select name="period" value=${typed.period} onChange=${set('period')}>
        ${[['', 'the whole time'], ['day', 'day'], ['week', 'week'], ['month', 'month']].map(([value, title]) => html`<option value=${value}>${title}</option>`)}</select><//>
      ${filters.map(([name, title, example]) => html`<${Field} key=${name} label=${title} fault=${faults[name]}><input name=${name} type="search" placeholder=${example} data-search=${name === 'event' ? true : undefined} value=${typed[name]} onInput=${set(name)} /><//>`)}
      <${Field} label="Metadata is" hint="model=large, team=red" fault=${metadataFault}><input name="metadata" value=${typed.metadata} onInput=${set('metadata')} /><//>
    </div>
    <div class="fields">
      <${By} by=${typed.by} fault=${faults.by} change=${(by) => change({ by })} />
      <${Field} label="Ratios" hint="One in a line, such as cost/accepted." fault=${faults.ratio}><textarea name="ratio" rows="3" spellcheck=${false} value=${typed.ratio} onInput=${set('ratio')}></textarea><//>
    </div>
  </form>`;
}

export function Reports({ query }) {
  const [typed, setTyped] = useState(Object.fromEntries(names.map((name) => [name, query[name] ?? ''])));
  const settled = useSettled(typed, 300);
  useEffect(() => keepFilter(settled), [settled]);
  const change = (changed) => setTyped((typed) => ({ ...typed, ...changed }));
  const set = (name) => (event) => change({ [name]: event.target.value });
  const call = callOf(settled);
  const pages = usePages('reports/usage', call);
  const { faults, rest } = faultsOf(pages.error, (field) => names.includes(field) || field.startsWith('metadata'));
  const [saving, setSaving] = useState({ busy: false, error: null });
  const save = async () => {
    setSaving({ busy: true, error: null });
    const error = await api.download(`reports/usage${api.query({ ...call, format: 'csv' })}`, 'usage.csv').then(() => null, (error) => error);
    setSaving({ busy: false, error });
  };
  const offered = metrics(pages.data);
  const metric = offered.includes(typed.metric) ? typed.metric : 'calls';
  return html`
    <${Heading} title="Reports"><button type="button" disabled=${saving.busy || pages.error !== null} onClick=${save}>Download CSV</button><//>
    <${Form} typed=${typed} faults=${faults} set=${set} change=${change} />
    <${ErrorBox} error=${saving.error ?? rest} retry=${rest ? pages.reload : null} />
    ${!pages.loaded && !pages.error && html`<${Loading} what="the report" />`}
    ${pages.loaded && !pages.error && (pages.data.every(isQuiet)
      ? html`<${Empty} title="Nothing happened"><p>No call, denial or expiry of that time matches. Without dates a report is of the last 30 days.</p><//>`
      : html`<div class="filter"><${Field} label="Chart of"><select name="metric" value=${metric} onChange=${set('metric')}>${offered.map((name) => html`<option value=${name}>${name}</option>`)}</select><//></div>
        <${ReportChart} lines=${pages.data} metric=${metric} timed=${settled.period !== ''} />
        <${ReportTable} lines=${pages.data} timed=${settled.period !== ''} />
        <${More} pages=${pages} />`)}`;
}
