// A report as a chart: over time as lines or bars, of a whole time as bars beside the names.

import { Chart, Share, dayName } from '../chart.js';
import { amount, html, number, plural } from '../ui.js';

const MOST_LINES = 5;
const MOST_BARS = 12;

/** The name of a report's line: the values by which it differs from the others. */
const nameOf = (line) => Object.values(line.by).map((value) => value ?? '(none)').join(' · ') || 'all';

/** The names with the largest sums. */
function largest(lines, metric, most) {
  const sums = new Map();
  for (const line of lines) sums.set(nameOf(line), (sums.get(nameOf(line)) ?? 0) + (metric.read(line) ?? 0));
  const sorted = [...sums].sort(([, one], [, other]) => other - one);
  return { shown: sorted.slice(0, most), others: Math.max(0, sorted.length - most) };
}

const Others = ({ count, most, more }) => (count > 0 ? html`<p class="quiet">The largest ${most}; ${more ? `more than ${number(count)} others` : plural(count, 'other')} ${count === 1 && !more ? 'is' : 'are'} not shown here.</p>` : null);

function OverTime({ lines, metric }) {
  const starts = [...new Set(lines.map((line) => line.start))].sort();
  const { shown, others } = largest(lines, metric, MOST_LINES);
  const series = shown.map(([title]) => {
    const own = new Map(lines.filter((line) => nameOf(line) === title).map((line) => [line.start, metric.read(line) ?? 0]));
    return { title, values: starts.map((start) => own.get(start) ?? 0) };
  });
  return html`<${Chart} title=${metric.title} labels=${starts.map(dayName)} series=${series} unit=${metric.unit === 'line' ? lines[0]?.charged[0]?.unit : metric.unit ?? ''} height=${220} /><${Others} count=${others} most=${MOST_LINES} />`;
}

function Ranked({ lines, metric, more }) {
  const { shown, others } = largest(lines, metric, MOST_BARS);
  const most = Math.max(0, ...shown.map(([, sum]) => sum));
  const unit = metric.unit === 'line' ? lines[0].charged[0]?.unit : metric.unit;
  return html`<div class="ranked">${shown.map(([name, sum]) => html`<bdi class="name">${name}</bdi><${Share} value=${sum} most=${most} /><span class="figure">${amount(sum, unit)}</span>`)}</div>
    <${Others} count=${others} most=${MOST_BARS} more=${more} />`;
}

/** @param {{report: any, metric: import('./report_columns.js').Column, timed: boolean}} given */
export const ReportChart = ({ report, metric, timed }) => (timed ? html`<${OverTime} lines=${report.lines} metric=${metric} />` : html`<${Ranked} lines=${report.lines} metric=${metric} more=${report.ranked} />`);
