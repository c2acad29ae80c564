// How a move to another plan changes counters: of one user by the gateway's preview, of all users of a plan by the rules
// of the groups.

import { amount } from './ui.js';

const isLimited = (group) => group.quota !== null && group.quota !== undefined;

const quotaOf = (group) => (isLimited(group) ? `of ${amount(Number(group.quota), group.unit)}` : 'without limit');

/** @type {Record<string, (counter: any) => string>} */
const effects = {
  carried: (counter) => `keeps ${amount(counter.used, counter.unit)} used ${quotaOf(counter)}`,
  new: (counter) => `starts at 0 ${quotaOf(counter)}`,
  reset: (counter) => `starts at 0 ${quotaOf(counter)}`,
  blocked: (counter) => `keeps ${amount(counter.used, counter.unit)} used ${quotaOf(counter)}, and the rest is blocked until the next window`,
  closed: () => 'denies: its period has not begun, or is over',
};

/** In words, how a counter of `POST subscriptions?dryRun=true` changes. */
export function preview(counter) {
  if (counter.kind === 'balance') return `keeps its credits: ${amount(counter.remaining, counter.unit)} left`;
  const nothing = counter.effect === 'carried' && counter.remaining === 0 && counter.quota > 0 ? ': nothing is left' : '';
  return effects[counter.effect](counter) + nothing;
}

/** By a group's rule, for users of whom each has used something else. */
function ruled(group, carried) {
  if (group.kind === 'balance') return 'keeps its credits';
  const rule = group.onPlanChange ?? 'carry';
  if (rule === 'block' && isLimited(group)) return `has nothing left ${quotaOf(group)} until its next window`;
  if (rule === 'reset' || !carried) return `starts at 0 ${quotaOf(group)}`;
  return `keeps what was used; ${isLimited(group) ? `new limit ${amount(Number(group.quota), group.unit)}` : 'no limit'}`;
}

const label = (group) => group.label || group.id;

/** What the counters of everybody on one plan do when they move to another. */
export function outcomes(from, to) {
  const had = new Set(from.groups.map((group) => group.id));
  const has = new Set(to.groups.map((group) => group.id));
  const present = to.groups.map((group) => ({ id: group.id, label: label(group), says: ruled(group, had.has(group.id)) }));
  const gone = from.groups.filter((group) => !has.has(group.id));
  return [...present, ...gone.map((group) => ({ id: group.id, label: label(group), says: 'ends' }))];
}
