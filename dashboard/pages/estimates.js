// What the gateway has learned about figures that reserves do not know yet.

import { useEffect, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Elsewhere, Empty, Heading, Loaded, More, Table, html, keepFilter, link, number, usePages, useSettled } from '../ui.js';

/** The names and values of a row; a call without the field has an empty value. */
function Values({ by }) {
  if (by === null) return html`<span class="quiet">all others</span>`;
  const names = Object.entries(by);
  if (names.length === 0) return html`<span class="quiet">all calls</span>`;
  return names.map(([name, value]) => html`<div><span class="quiet">${name}</span> ${value === '' ? html`<span class="quiet">none</span>` : html`<bdi class="name">${value}</bdi>`}</div>`);
}

/** "4 of 120 (3.3 %)" */
const share = ({ compared, exceeded }) => (compared === 0 ? 'not compared yet' : `${number(exceeded)} of ${number(compared)} (${number(Math.round((1000 * exceeded) / compared) / 10)} %)`);

export function Estimates({ query }) {
  const [typed, setTyped] = useState({ event: query.event ?? '' });
  const filter = useSettled(typed, 250);
  useEffect(() => keepFilter(filter), [filter]);
  // Also a name of which only the beginning is typed finds its events.
  const pages = usePages('estimates', { event: filter.event && `${filter.event}*` });
  const empty = html`<${Empty} title=${filter.event ? 'No estimate for this event' : `Nothing learned in ${api.placeWords()} yet`}>
    <p>A <a href=${link(['plans'])}>plan</a> or <a href=${link(['policies'])}>policy</a> can learn what a figure such as <code>completion_tokens</code> usually is, and hold calls with it: give its measure an estimate with a <code>quantile</code>.</p>
    <p>Committed and tracked figures of the last seven days count.</p><${Elsewhere} /><//>`;
  return html`
    <${Heading} title="Estimates" />
    <div class="filter"><div class="field"><label for="estimates-event">Event</label>
      <input id="estimates-event" name="event" type="search" placeholder="llm.chat" value=${typed.event} onInput=${(event) => setTyped({ event: event.target.value })} /></div></div>
    <${Loaded} of=${pages} what="estimates" empty=${empty}>
      <${Table} label="Estimates">
        <thead><tr><th>Event</th><th>Field</th><th>Which calls</th><th class="figure">Quantile</th><th class="figure">Estimate</th><th class="figure">Samples</th><th class="figure">Exceeded</th></tr></thead>
        <tbody>${pages.data.map((one) => html`<tr key=${JSON.stringify([one.event, one.field, one.by, one.quantile, one.start, one.max])}>
          <td class="lead"><bdi class="name">${one.event}</bdi></td>
          <td><bdi class="name">${one.field}</bdi></td>
          <td><${Values} by=${one.by} /></td>
          <td class="figure">${number(one.quantile)}</td>
          <td class="figure">${number(one.value)}${!one.learned && html`<div class="quiet">start value</div>`}${one.max !== null && one.value === one.max && html`<div class="quiet">maximum</div>`}</td>
          <td class="figure">${number(one.samples)}</td>
          <td class="figure">${share(one)}</td>
        </tr>`)}</tbody>
      <//>
      <p class="quiet">With fewer than 100 samples, the gateway uses the start value.</p>
      <${More} pages=${pages} />
    <//>`;
}
