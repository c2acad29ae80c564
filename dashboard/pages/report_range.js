// Days of a report: what the buttons beside the date fields stand for, and the period before.

import * as api from '../api.js';

const DAY_MS = 86_400_000;

const text = (ms) => new Date(ms).toISOString().slice(0, 10);
const ms = (day) => Date.parse(`${day}T00:00:00Z`);

export const later = (day, days) => text(ms(day) + days * DAY_MS);

const monthStart = (day) => `${day.slice(0, 8)}01`;
const monthEnd = (day) => later(monthStart(later(monthStart(day), 32)), -1);

/** The day by the time of the data: in a sandbox that of its clock. */
export const today = () => text(api.now().getTime());

/**
 * The days that each button chooses.
 * @returns {{title: string, from: string, to: string}[]}
 */
export function presets() {
  const day = today();
  const lastMonth = later(monthStart(day), -1);
  return [
    { title: 'Today', from: day, to: day },
    { title: 'Yesterday', from: later(day, -1), to: later(day, -1) },
    { title: 'Last 7 days', from: later(day, -6), to: day },
    { title: 'Last 30 days', from: later(day, -29), to: day },
    { title: 'This month', from: monthStart(day), to: day },
    { title: 'Last month', from: monthStart(lastMonth), to: lastMonth },
  ];
}

/** The period before: as many days, or for a whole month the month before it. */
export function before({ from, to }) {
  const end = later(from, -1);
  if (from === monthStart(from) && to === monthEnd(from)) return { from: monthStart(end), to: end };
  const days = Math.round((ms(to) - ms(from)) / DAY_MS);
  return { from: later(end, -days), to: end };
}
