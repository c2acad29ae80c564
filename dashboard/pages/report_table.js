// A report as a table: sorted, with totals, shares and the period before.

import { useState } from '../vendor/hooks.js';
import { Table, html, link, number } from '../ui.js';
import { cell, change } from './report_columns.js';

/** Lines shown at first, and with each "Show more". */
const SHOWN = 100;

/** Where a value of `by` leads. */
const places = {
  user: (value) => link(['users', value]),
  event: (value) => link(['events'], { event: value }),
  group: (value) => link(['events'], { groupId: value }),
  key: (value) => link(['events'], { keyId: value }),
};

/** "User", or the name of a metadata field as it is. */
const dimensionTitle = (name) => (name.startsWith('metadata.') ? name.slice('metadata.'.length) : name.charAt(0).toUpperCase() + name.slice(1));

function Value({ name, value }) {
  if (value === null) return html`<span class="quiet">none</span>`;
  const text = html`<bdi class="name">${value}</bdi>`;
  return places[name] && value !== '(other)' ? html`<a href=${places[name](value)}>${text}</a>` : text;
}

const share = (value, total) => (total > 0 && value !== null && value !== undefined ? `${((value / total) * 100).toFixed(1)} %` : '–');

/** A heading that sorts: by its column, the largest first, and the other way around when it is pressed again. */
function Head({ column, sort, choose, possible }) {
  const [name, up] = [sort.replace('-', ''), sort.startsWith('-')];
  const sorted = name === column.name;
  return html`<th class="figure" aria-sort=${sorted ? (up ? 'ascending' : 'descending') : undefined}>${possible
    ? html`<button type="button" class="sort" onClick=${() => choose(sorted && !up ? `-${column.name}` : column.name)}>${column.title}${sorted ? (up ? ' ↑' : ' ↓') : ''}</button>`
    : column.title}</th>`;
}

const bySort = (lines, columns, sort) => {
  const column = columns.find((one) => one.name === sort.replace('-', ''));
  if (!column) return lines;
  const sign = sort.startsWith('-') ? 1 : -1;
  return [...lines].sort((one, other) => sign * ((column.read(one) ?? -Infinity) - (column.read(other) ?? -Infinity)));
};

/**
 * @param {{report: any, columns: import('./report_columns.js').Column[], metric: import('./report_columns.js').Column | undefined, timed: boolean, sort: string, sortable: (name: string) => boolean,
 *   choose: (sort: string) => void}} given `sortable`: all lines can be sorted by that column
 */
export function ReportTable({ report, columns, metric, timed, sort, sortable, choose }) {
  const [shown, setShown] = useState(SHOWN);
  const { lines, totals, linesBefore } = report;
  const by = Object.keys(lines[0].by);
  const sorted = bySort(lines, columns, sort);
  const total = metric && totals && metric.unit !== 'line' ? metric.read(totals) : null;
  const shares = by.length > 0 && !timed && total > 0;
  const past = (line) => {
    const found = linesBefore.lines.get(JSON.stringify(line.by));
    return found ? metric.read(found) : linesBefore.whole ? 0 : null;
  };
  const compared = linesBefore !== null && metric !== undefined;
  return html`<${Table} label="The report as a table" wide>
    <thead><tr>
      ${timed && html`<th>Time</th>`}${by.map((name) => html`<th>${dimensionTitle(name)}</th>`)}
      ${columns.map((column) => html`<${Head} key=${column.name} column=${column} sort=${sort} possible=${sortable(column.name)} choose=${choose} />`)}
      ${shares && html`<th class="figure">Share of ${metric.title.replace(/ \(.*\)$/, '').toLowerCase()}</th>`}
      ${compared && html`<th class="figure">Before</th><th class="figure">Change</th>`}
    </tr></thead>
    <tbody>${sorted.slice(0, shown).map((line) => html`<tr key=${line.start + JSON.stringify(line.by)}>
      ${timed && html`<td><span class="part">${line.start === line.end ? line.start : `${line.start} to ${line.end}`}</span></td>`}
      ${by.map((name) => html`<td><${Value} name=${name} value=${line.by[name]} /></td>`)}
      ${columns.map((column) => html`<td class="figure">${cell(column, line)}</td>`)}
      ${shares && html`<td class="figure">${share(metric.read(line), total)}</td>`}
      ${compared && html`<td class="figure">${past(line) === null ? '–' : cell({ ...metric, read: () => past(line) }, line)}</td><td class="figure">${change(metric.read(line), past(line))}</td>`}
    </tr>`)}</tbody>
    ${totals && lines.length > 1 && html`<tfoot><tr>
      <th scope="row" colspan=${by.length + (timed ? 1 : 0)}>Total</th>
      ${columns.map((column) => html`<td class="figure">${column.unit === 'line' ? '' : cell(column, totals)}</td>`)}
      ${shares && html`<td class="figure"></td>`}
      ${compared && html`<td class="figure"></td><td class="figure"></td>`}
    </tr></tfoot>`}
  <//>
  ${by.includes('group') && html`<p class="quiet">A call counts in every group that matches it, so the groups add up to more than the total.</p>`}
  ${sorted.length > shown && html`<p><button type="button" onClick=${() => setShown(shown + SHOWN)}>Show more</button> <span class="quiet">${number(shown)} of ${number(sorted.length)} lines</span></p>`}`;
}
