// A report as a table: only the columns in which something stands.

import { Table, amount, html, link, number } from '../ui.js';

const counts = ['calls', 'denials', 'released', 'expiries', 'late', 'draws', 'refunds', 'accepted', 'rejected', 'retries', 'quantity'];
const always = ['calls', 'denials'];

const titles = { costPerAccepted: 'cost per accepted', retryShare: 'retry share' };

const told = (value) => (value === null || value === undefined ? '–' : number(value));

/** Where a value of `by` leads. */
const places = {
  user: (value) => link(['users', value]),
  event: (value) => link(['events'], { event: value }),
  group: (value) => link(['events'], { groupId: value }),
  key: (value) => link(['events'], { keyId: value }),
};

function Value({ name, value }) {
  if (value === null) return html`<span class="quiet">none</span>`;
  const text = html`<bdi class="name">${value}</bdi>`;
  return places[name] && value !== '(other)' ? html`<a href=${places[name](value)}>${text}</a>` : text;
}

/**
 * Title and text of each column of figures.
 * @returns {[string, (line: any) => any][]}
 */
function columnsOf(lines) {
  const some = (read) => lines.some((line) => read(line));
  /** @type {[string, (line: any) => any][]} */
  const columns = counts.filter((name) => always.includes(name) || some((line) => line[name])).map((name) => [name, (line) => told(line[name])]);
  if (some((line) => line.cost)) columns.push(['cost (cents)', (line) => told(line.cost)]);
  for (const name of ['costPerAccepted', 'retryShare']) if (some((line) => line[name])) columns.push([titles[name], (line) => told(line[name])]);
  for (const ratio of Object.keys(lines[0].ratios)) columns.push([ratio, (line) => told(line.ratios[ratio])]);
  const figures = new Set(lines.flatMap((line) => Object.keys(line.figures ?? {})));
  for (const name of [...figures].sort()) columns.push([name, (line) => told(line.figures?.[name])]);
  return columns;
}

const Charged = ({ line }) => line.charged.map((charge) => html`<div>${amount(charge.amount, charge.unit)}${line.by.group === charge.groupId ? '' : html` <code>${charge.groupId}</code>`}</div>`);

const Reasons = ({ reasons }) => Object.entries(reasons ?? {}).map(([reason, count]) => html`<div><code>${reason}</code> ${number(count)}</div>`);

export function ReportTable({ lines, timed }) {
  const by = Object.keys(lines[0].by);
  const columns = columnsOf(lines);
  const denied = lines.some((line) => Object.keys(line.denialsByReason ?? {}).length > 0);
  return html`<${Table} label="The report as a table">
    <thead><tr>
      ${timed && html`<th>Time</th>`}${by.map((name) => html`<th>${name}</th>`)}
      ${columns.map(([title]) => html`<th class="figure">${title}</th>`)}
      <th class="figure">Charged</th>${denied && html`<th>Denied for</th>`}
    </tr></thead>
    <tbody>${lines.map((line) => html`<tr key=${line.start + JSON.stringify(line.by)}>
      ${timed && html`<td><span class="part">${line.start === line.end ? line.start : `${line.start} to ${line.end}`}</span></td>`}
      ${by.map((name) => html`<td><${Value} name=${name} value=${line.by[name]} /></td>`)}
      ${columns.map(([, read]) => html`<td class="figure">${read(line)}</td>`)}
      <td class="figure"><${Charged} line=${line} /></td>
      ${denied && html`<td><${Reasons} reasons=${line.denialsByReason} /></td>`}
    </tr>`)}</tbody>
  <//>`;
}
