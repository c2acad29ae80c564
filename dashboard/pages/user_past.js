// What a user has used, will use, and did last.

import * as api from '../api.js';
import { windowWords } from '../counter.js';
import { Badge, Loaded, Table, amount, figure, html, link, unitName, useLoad, when } from '../ui.js';
import { EventTable } from './events.js';

const RECENT = 10;

/** The forecast of each of the user's counters, by its group. `state` changes when the counters do. */
export function useForecast(userId, state) {
  const forecast = useLoad((signal) => api.get(`reports/forecast${api.query({ userId })}`, signal), [userId, state, api.place.mode, api.place.app]);
  return new Map((forecast.data?.data ?? []).map((counter) => [counter.groupId, counter]));
}

const span = (low, high) => (low === high ? low : `${low} to ${high}`);

/** Beside a counter: when it may run out, or what it will have used by the end of its window. Always a range. */
export function Forecast({ counter, forecast }) {
  if (!forecast || forecast.used === 0 || forecast.used >= forecast.limit || counter.scope.user === undefined) return null;
  if (!forecast.range) return html`<p class="forecast quiet">Forecast from ${when(forecast.forecastFrom)}</p>`;
  const { slow, fast } = forecast.range;
  if (fast.runsOutAt) {
    const last = slow.runsOutAt ? when(slow.runsOutAt) : null;
    return html`<p class="forecast warning">${last ? `Runs out ${span(when(fast.runsOutAt), last)}` : `May run out from ${when(fast.runsOutAt)}`}</p>`;
  }
  if (fast.projected === null) return null;
  const { unit } = forecast;
  const end = (value) => figure(unit === 'count' ? Math.round(value) : Number(value.toPrecision(3)), unit);
  return html`<p class="forecast quiet">Forecast: ${span(end(slow.projected), end(fast.projected))}${unitName(unit)} by ${when(forecast.period.end)}</p>`;
}

/** The windows of the user's counters as an invoice needs them. */
export function History({ userId, state }) {
  const windows = useLoad((signal) => api.get(`usage/history${api.query({ userId })}`, signal), [userId, state, api.place.mode, api.place.app]);
  return html`<${Loaded} of=${windows} what="windows" empty=${html`<p class="quiet">Nothing was counted yet.</p>`}>${() => html`<${Table} label="Windows">
    <thead><tr><th>Group</th><th>Window</th><th class="figure">Used</th><th class="figure">Quota</th><th class="figure">Overage</th><th>State</th></tr></thead>
    <tbody>${windows.data.data.map((window) => html`<tr key=${window.groupId + JSON.stringify(window.scope) + window.window}>
      <td><bdi>${window.label || window.groupId}</bdi> <code class="quiet">${window.groupId}</code></td>
      <td title=${window.period.end ? `${window.period.start} to ${window.period.end}` : undefined}><span class="part">${windowWords(window.period)}</span></td>
      <td class="figure">${amount(window.used, window.unit)}</td>
      <td class="figure">${window.quota === null ? 'without limit' : amount(window.quota, window.unit)}${window.granted > 0 ? html` <span class="quiet">+ ${figure(window.granted, window.unit)} granted</span>` : ''}${window.rolled > 0 ? html` <span class="quiet">+ ${figure(window.rolled, window.unit)} rolled over</span>` : ''}</td>
      <td class="figure">${window.overage > 0 ? html`<strong>${amount(window.overage, window.unit)}</strong>` : '–'}</td>
      <td>${window.final ? html`<${Badge} kind="good">final<//>` : html`<${Badge}>may still change<//>`}</td>
    </tr>`)}</tbody>
  <//>`}<//>`;
}

export function Recent({ userId, state }) {
  const events = useLoad((signal) => api.get(`events${api.query({ userId, limit: RECENT })}`, signal), [userId, state, api.place.mode, api.place.app]);
  return html`<${Loaded} of=${events} what="events" empty=${html`<p class="quiet">None yet.</p>`}>${() => html`<${EventTable} mine events=${events.data.data} />`}<//>
    <p><a href=${link(['events'], { userId })}>All events of this user</a></p>`;
}
