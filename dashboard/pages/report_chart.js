// A report as a chart: over time as lines or bars, of a whole time as bars beside the names.

import { Chart, Share, dayName } from '../chart.js';
import { html, number, plural } from '../ui.js';

const MOST_LINES = 5;
const MOST_BARS = 12;

/** What a line of a report is called by the names that it is told apart by. */
export const nameOf = (line) => Object.values(line.by).map((value) => value ?? '(none)').join(' · ') || 'all';

const figure = (line, metric) => {
  if (metric === 'charged') return line.charged.reduce((sum, charge) => sum + charge.amount, 0);
  return line[metric] ?? line.ratios[metric] ?? line.figures?.[metric] ?? 0;
};

const plain = ['calls', 'denials', 'cost', 'quantity', 'draws', 'released', 'expiries', 'late', 'refunds', 'accepted', 'rejected', 'retries'];

/** What there is to draw. Charges of several groups have no common unit. */
export function metrics(lines) {
  const [first] = lines;
  if (!first) return ['calls'];
  const figures = new Set(lines.flatMap((line) => [...Object.keys(line.ratios), ...Object.keys(line.figures ?? {})]));
  const units = new Set(lines.flatMap((line) => line.charged.map((charge) => charge.unit)));
  const ofGroups = first.cost === undefined;
  return [...plain.filter((name) => first[name] !== undefined), ...(ofGroups && units.size === 1 ? ['charged'] : []), ...figures];
}

/** The names with the largest sums. */
function largest(lines, metric, most) {
  const sums = new Map();
  for (const line of lines) sums.set(nameOf(line), (sums.get(nameOf(line)) ?? 0) + figure(line, metric));
  const sorted = [...sums].sort(([, one], [, other]) => other - one);
  return { shown: sorted.slice(0, most), others: Math.max(0, sorted.length - most) };
}

const Others = ({ count, most }) => (count > 0 ? html`<p class="quiet">The largest ${most}; ${plural(count, 'other')} are in the table.</p>` : null);

function OverTime({ lines, metric }) {
  const starts = [...new Set(lines.map((line) => line.start))].sort();
  const { shown, others } = largest(lines, metric, MOST_LINES);
  const series = shown.map(([title]) => {
    const own = new Map(lines.filter((line) => nameOf(line) === title).map((line) => [line.start, figure(line, metric)]));
    return { title, values: starts.map((start) => own.get(start) ?? 0) };
  });
  return html`<${Chart} title=${metric} labels=${starts.map(dayName)} series=${series} height=${220} /><${Others} count=${others} most=${MOST_LINES} />`;
}

function Ranked({ lines, metric }) {
  const { shown, others } = largest(lines, metric, MOST_BARS);
  const most = Math.max(0, ...shown.map(([, sum]) => sum));
  return html`<div class="ranked">${shown.map(([name, sum]) => html`<bdi class="name">${name}</bdi><${Share} value=${sum} most=${most} /><span class="figure">${number(sum)}</span>`)}</div>
    <${Others} count=${others} most=${MOST_BARS} />`;
}

export const ReportChart = ({ lines, metric, timed }) => (timed ? html`<${OverTime} lines=${lines} metric=${metric} />` : html`<${Ranked} lines=${lines} metric=${metric} />`);
