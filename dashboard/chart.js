// Charts over time as SVG, without a library. What they show stands in a table below, too, for those who cannot see them.

import { useEffect, useRef, useState } from './vendor/hooks.js';
import { Table, amount, figure, html, tick, unitName } from './ui.js';

const LEFT = 48;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 24;
const WIDEST_TICK = 72;

/** The next 1, 2 or 5 times a power of ten: where an axis ends. */
export function niceCeiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999999);
}

/** `2027-01-31` as `31 Jan`. */
export const dayName = (day) => new Date(`${day}T00:00:00Z`).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });

/**
 * How wide an element is, so that its text need not be scaled.
 * @returns {[{current: any}, number]}
 */
function useWidth() {
  const element = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.round(entry.contentRect.width)));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return [element, width];
}

/** What is drawn where. */
function layout(width, height, labels, series) {
  const highest = niceCeiling(Math.max(0, ...series.flatMap((one) => one.values)));
  const slot = (width - LEFT - RIGHT) / labels.length;
  // Half a call does not happen.
  const whole = series.every((one) => one.values.every(Number.isInteger));
  const middle = whole && highest % 2 !== 0 ? [] : [highest / 2];
  return {
    highest,
    ticks: [0, ...middle, highest],
    slot,
    x: (at) => LEFT + slot * (at + 0.5),
    y: (value) => TOP + (height - TOP - BOTTOM) * (1 - Math.max(0, value) / highest),
    every: Math.max(1, Math.ceil(WIDEST_TICK / slot)),
    at: (x) => Math.max(0, Math.min(labels.length - 1, Math.floor((x - LEFT) / slot))),
  };
}

function Axes({ place, labels, unit, width }) {
  return html`
    ${place.ticks.map((value) => html`<line class="grid" x1=${LEFT} x2=${width - RIGHT} y1=${place.y(value)} y2=${place.y(value)} />
      <text class="tick" x=${LEFT - 8} y=${place.y(value) + 4} text-anchor="end">${tick(value, unit)}</text>`)}
    ${labels.map((label, at) => at % place.every === 0 && html`<text class="tick" x=${place.x(at)} y=${place.y(0) + 16} text-anchor="middle">${label}</text>`)}`;
}

const Bars = ({ place, values }) => {
  const width = Math.max(1, Math.min(32, place.slot * 0.7));
  return values.map((value, at) => value > 0 && html`<rect class="column" x=${place.x(at) - width / 2} width=${width} y=${place.y(value)} height=${Math.max(1, place.y(0) - place.y(value))} />`);
};

/** Lines differ in colour and in their dashes. */
const Lines = ({ place, series }) =>
  series.map((one, at) => html`<polyline class=${`line s${at + 1}`} points=${one.values.map((value, at) => `${place.x(at)},${place.y(value)}`).join(' ')} />
    ${one.values.length === 1 && html`<circle class=${`dot s${at + 1}`} cx=${place.x(0)} cy=${place.y(one.values[0])} r="3" />`}`);

const Legend = ({ series }) => html`<ul class="legend">${series.map((one, at) => html`<li key=${one.title}>
  <svg width="24" height="8" aria-hidden="true"><line class=${`line s${at + 1}`} x1="0" x2="24" y1="4" y2="4" /></svg><bdi class="name">${one.title}</bdi></li>`)}</ul>`;

const Figures = ({ title, labels, series, unit }) => html`<details class="as-table"><summary>${title} as a table</summary><${Table} label=${`${title}, as a table`} wide>
  <thead><tr><th scope="col">Time</th>${series.map((one) => html`<th scope="col" class="figure"><bdi>${one.title}</bdi>${unitName(unit) ? ` (${unit})` : ''}</th>`)}</tr></thead>
  <tbody>${labels.map((label, at) => html`<tr><th scope="row">${label}</th>${series.map((one) => html`<td class="figure">${figure(one.values[at], unit)}</td>`)}</tr>`)}</tbody>
<//></details>`;

/**
 * One series as bars, several as lines. The pointer shows the values of a point.
 * @param {{title: string, total?: string, labels: string[], series: {title: string, values: number[]}[], unit?: string, height?: number}} given
 */
export function Chart({ title, total, labels, series, unit = '', height = 160 }) {
  const [element, width] = useWidth();
  const [over, setOver] = useState(null);
  const place = width > LEFT + RIGHT && labels.length > 0 ? layout(width, height, labels, series) : null;
  const totals = series.map((one) => `${one.title} ${figure(one.values.reduce((sum, value) => sum + value, 0), unit)}`);
  const pointedAt = over === null || over >= labels.length ? null : [labels[over], ...series.map((one) => `${series.length > 1 ? `${one.title}: ` : ''}${amount(one.values[over], unit)}`)].join(' · ');
  const move = (event) => setOver(place.at(event.clientX - event.currentTarget.getBoundingClientRect().left));
  return html`<figure class="chart">
    <figcaption><strong>${title}${total === undefined ? '' : `: ${total}`}</strong> <span class="quiet over-value">${pointedAt ?? ''}</span></figcaption>
    <div ref=${element} class="plot">
      ${place && html`<svg role="img" aria-label=${`${title}, ${labels[0]} to ${labels.at(-1)}: ${totals.join(', ')}${unitName(unit)}`} width=${width} height=${height} onPointerMove=${move} onPointerLeave=${() => setOver(null)}>
        <${Axes} place=${place} labels=${labels} unit=${unit} width=${width} />
        ${over !== null && html`<line class="cursor" x1=${place.x(over)} x2=${place.x(over)} y1=${TOP} y2=${place.y(0)} />`}
        ${series.length === 1 ? html`<${Bars} place=${place} values=${series[0].values} />` : html`<${Lines} place=${place} series=${series} />`}
      </svg>`}
    </div>
    ${series.length > 1 && html`<${Legend} series=${series} />`}
    <${Figures} title=${title} labels=${labels} series=${series} unit=${unit} />
  </figure>`;
}

/** A bar as long as its share of the largest, beside its figure. */
export const Share = ({ value, most }) => html`<svg class="share" width="96" height="8" aria-hidden="true">
  <rect class="rest" width="96" height="8" rx="2" /><rect class="column" width=${most > 0 ? Math.max(value > 0 ? 2 : 0, (96 * value) / most) : 0} height="8" rx="2" /></svg>`;

/** All days from the first to the last, also those without figures. */
export function daysBetween(from, to) {
  const days = [];
  for (let at = Date.parse(`${from}T00:00:00Z`); at <= Date.parse(`${to}T00:00:00Z`); at += 86_400_000) days.push(new Date(at).toISOString().slice(0, 10));
  return days;
}
