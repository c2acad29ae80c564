// A sandbox of test mode and its clock.

import * as api from '../api.js';
import { ClockTime, Confirm, Empty, ErrorBox, Field, Heading, Loaded, html, link, useDialog, useLoad, useWrite } from '../ui.js';
import { useState } from '../vendor/hooks.js';

const rfc3339 = (date) => date.toISOString().replace('.000Z', 'Z');

/** The same day of the next month, or that month's last. */
function monthLater(date) {
  const next = new Date(date);
  next.setUTCDate(1);
  next.setUTCMonth(next.getUTCMonth() + 1);
  const last = new Date(Date.UTC(next.getUTCFullYear(), next.getUTCMonth() + 1, 0)).getUTCDate();
  next.setUTCDate(Math.min(date.getUTCDate(), last));
  return next;
}

const later = (seconds) => (date) => new Date(date.getTime() + seconds * 1000);
/** @type {[string, (date: Date) => Date][]} */
const moves = [
  ['+1 minute', later(60)],
  ['+1 hour', later(3600)],
  ['+1 day', later(86_400)],
  ['+1 week', later(604_800)],
  ['+1 month', monthLater],
];

function Clock({ now, reload }) {
  const base = now ? new Date(now) : new Date(Math.floor(Date.now() / 1000) * 1000);
  const [time, setTime] = useState(rfc3339(base).slice(0, 19));
  const { busy, error, write } = useWrite();
  const set = async (date) => {
    const set = await write('PUT', 'test-clock', { now: rfc3339(date) });
    if (!set) return;
    api.setFrozen(set.now);
    setTime(set.now.slice(0, 19));
    reload();
  };
  const submit = (event) => {
    event.preventDefault();
    set(new Date(`${time}Z`));
  };
  return html`
    <p>${now ? html`The clock is set to <strong><${ClockTime} at=${now} /></strong>. It only moves forward.` : 'The sandbox runs on real time. Freeze its clock to test resets, expiries and month-ends in a second.'}</p>
    <form class="filter" onSubmit=${submit}>
      <${Field} label="Time (UTC)"><input type="datetime-local" step="1" name="now" required value=${time} onInput=${(event) => setTime(event.target.value)} /><//>
      <button type="submit" class="primary" disabled=${busy}>${now ? 'Move clock' : 'Freeze clock'}</button>
    </form>
    ${now && html`<div class="row">${moves.map(([title, move]) => html`<button type="button" disabled=${busy} onClick=${() => set(move(base))}>${title}</button>`)}</div>`}
    <${ErrorBox} error=${error} />`;
}

export function Sandbox() {
  const test = api.isTest();
  const clock = useLoad((signal) => (test ? api.get('test-clock', signal) : Promise.resolve({ now: null })), [test, api.place.mode, api.place.app]);
  const dialog = useDialog();
  const name = api.place.mode.split('/')[1] ?? 'main';
  if (!test) {
    return html`<${Heading} title="Test clock" /><${Empty} title="Live data runs on real time"><p>Switch to test mode to use a sandbox with its own data and clock.</p>
      <button type="button" onClick=${() => api.setMode('test')}>To test mode</button><//>`;
  }
  const empty = async (write) => {
    const gone = await write('DELETE', 'test-clock');
    if (gone) {
      api.setFrozen(null);
      clock.reload();
    }
    return gone;
  };
  return html`
    <${Heading} title="Test clock">${api.may('admin') && html`<button type="button" class="danger" onClick=${() => dialog.show('empty')}>Empty sandbox ${name}</button>`}<//>
    <${Loaded} of=${clock} what="the clock">${() => html`<${Clock} key=${clock.data.now} now=${clock.data.now} reload=${clock.reload} />`}<//>
    <p class="quiet">To call a sandbox, create a key with mode test on the page <a href=${link(['keys'])}>Keys</a>.</p>
    ${dialog.open && html`<${Confirm} title=${`Empty sandbox ${name}?`} action="Empty" danger note=${false} run=${empty} close=${dialog.close}
      about=${html`<p>All users, counters, reservations and grants of <strong>${name}</strong> are deleted, and its clock returns to real time. Plans, policies, keys and live data stay.</p>`} />`}`;
}
