// A counter as a bar with its figures, the same on every page.

import { figure, html, unitName, when } from './ui.js';

const isBalance = ({ kind }) => kind === 'balance';

/** What a counter may use: its quota, with what is granted and what was rolled over. Of a balance, its credits so far. */
export const limitOf = ({ kind, quota, granted, rolled = 0, used, held, remaining, overage }) =>
  isBalance({ kind }) ? used - overage + held + remaining : quota + granted + rolled;

/** "33 left", "5 held", "12 used", "10 expire 1 Dec". */
function balanceFigures({ used, held, remaining, overage, expiresNext, unit }) {
  const text = (value) => figure(value, unit);
  const parts = [`${text(remaining)}${unitName(unit)} left`];
  if (held) parts.push(`${text(held)} held`);
  parts.push(`${text(used)} used`);
  if (overage) parts.push(`${text(overage)} over`);
  if (expiresNext) parts.push(`${text(expiresNext.amount)} expire ${when(expiresNext.at)}`);
  return parts;
}

/** The words beside the bar: "12 / 20", "8 left", "resets 1 Dec". */
function figures(counter) {
  if (isBalance(counter)) return balanceFigures(counter);
  const { quota, granted, rolled, used, held, blocked, remaining, overage, unit } = counter;
  const text = (value) => figure(value, unit);
  const of = quota === null ? `${text(used)} without limit` : `${text(used)} / ${text(limitOf(counter))}`;
  const parts = [`${of}${unitName(unit)}`];
  if (remaining !== null) parts.push(`${text(remaining)} left`);
  if (held) parts.push(`${text(held)} held`);
  if (granted) parts.push(`${text(granted)} granted`);
  if (rolled) parts.push(`${text(rolled)} rolled over`);
  if (blocked) parts.push(`${text(blocked)} blocked`);
  if (overage) parts.push(`${text(overage)} over`);
  if (counter.resetsAt) parts.push(`resets ${when(counter.resetsAt)}`);
  else parts.push(counter.period ? 'never resets' : 'not running now');
  return parts;
}

/** Days of a window. One that no subscription began, such as that of calls in flight, is stored as beginning in 1970. */
export function windowWords({ start, end }) {
  if (end) return `${start.slice(0, 10)} to ${end.slice(0, 10)}`;
  return start.startsWith('1970-01-01') ? 'one window, never resets' : `since ${start.slice(0, 10)}`;
}

export function Bar({ counter }) {
  const { quota, granted, rolled = 0, used, held, blocked, overage } = counter;
  const room = quota === null && !isBalance(counter) ? null : limitOf(counter);
  const share = (amount) => `${room ? Math.min(100, (amount / room) * 100) : 0}%`;
  const within = room === null ? 0 : Math.min(used - (isBalance(counter) ? overage : 0), room);
  // Overage is drawn to the scale of the bar. Part of the bar stays visible, even far beyond the limit.
  const beyond = overage ? Math.min(95, (overage / (overage + (room ?? 0))) * 100) : 0;
  const label = `${counter.label || counter.groupId}: ${figures(counter).join(' · ')}`;
  return html`<div class="meter" role="img" aria-label=${label}>
    <div class="bar">
      <i class="used" style=${{ width: share(within) }}></i>
      <i class="held" style=${{ width: share(held) }}></i>
      <i class="blocked" style=${{ width: share(blocked) }}></i>
      ${granted + rolled > 0 && html`<i class="granted" style=${{ width: share(granted + rolled) }}></i>`}
    </div>
    ${beyond > 0 && html`<i class="over" style=${{ width: `${beyond}%` }}></i>`}
  </div>`;
}

/** Whose counter it is, unless it is the user's own. */
const owner = (scope) =>
  Object.keys(scope).some((name) => name !== 'user')
    ? Object.entries(scope).map(([name, value]) => html`<div class="quiet">${name.replace('metadata.', '')} <bdi>${value}</bdi></div>`)
    : null;

export const Counter = ({ counter, note, children }) => html`<div class="counter" data-group=${counter.groupId}>
  <div><bdi>${counter.label || counter.groupId}</bdi><div class="quiet"><code>${counter.groupId}</code></div>${owner(counter.scope)}</div>
  <${Bar} counter=${counter} />
  <div class="about">${figures(counter).map((part, at) => html`${at > 0 && ' · '}<span class="part">${part}</span>`)}${note}</div>
  <div class="row">${children}</div>
</div>`;
