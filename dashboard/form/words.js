// Limit groups in words: "20 per month per user", "image.* where size is 1k or 2k".

import { number } from '../ui.js';
import { field } from './document.js';

/** @type {[string, string][]} */
export const periods = [
  ['minute', 'minute'], ['hourly', 'hour'], ['daily', 'day'], ['weekly', 'week'], ['monthly', 'month'], ['yearly', 'year'],
  ['every', 'a duration, such as 30 days'], ['fixed', 'a campaign with start and end'], ['lifetime', 'lifetime: never resets'], ['concurrent', 'concurrent: calls in flight'],
];

const lengths = new Map(periods);

export const periodOf = (group, document) => field(group, 'periodType') ?? field(document, 'periodType');

export function periodWords(group, document) {
  const type = periodOf(group, document);
  const own = field(group, 'periodType') !== undefined;
  const from = (name) => group[name] ?? (own ? undefined : document[name]);
  if (type === 'every') return `every ${from('every') ?? '?'}`;
  if (type === 'fixed') return `from ${from('start') ?? '?'} to ${from('end') ?? '?'}`;
  if (type === 'lifetime') return 'in all';
  if (type === 'concurrent') return 'at the same time';
  return type === undefined ? 'without a period' : `per ${lengths.get(type) ?? type}`;
}

export const scopeWords = (scope) => {
  const names = Array.isArray(scope) && scope.length > 0 ? scope : ['user'];
  if (names.length === 1 && names[0] === 'app') return 'for the whole app';
  return `per ${names.map((name) => String(name).replace('metadata.', '')).join(' and ')}`;
};

/** `20`, `130 cents`, `no limit`. */
export function quotaWords({ quota, unit }) {
  if (quota === null || quota === undefined) return 'no limit';
  const text = Number.isFinite(Number(quota)) ? number(Number(quota)) : String(quota);
  return unit === 'count' || !unit ? text : `${text} ${unit}`;
}

/** "20 per month per user, 5 roll over, then credits". */
export const limitWords = (group, document) => {
  if (group.kind === 'balance') return `credits ${scopeWords(group.scope)}`;
  const rolls = group.rollover?.max === undefined ? '' : `, ${quotaWords({ quota: group.rollover.max, unit: group.unit })} roll over`;
  const then = group.overflow ? `, then ${group.overflow}` : '';
  return `${quotaWords(group)} ${periodWords(group, document)} ${scopeWords(group.scope)}${rolls}${then}`;
};

export const valuesOf = (filter) => (Array.isArray(filter) ? filter : [filter]);

/** "image.* where size is 1k or 2k". */
export function ruleWords(rule) {
  const filters = Object.entries(rule.metadata ?? {}).map(([name, filter]) => `${name} is ${valuesOf(filter).join(' or ') || '?'}`);
  return `${rule.event || '?'}${filters.length > 0 ? ` where ${filters.join(' and ')}` : ''}`;
}

export const enforcements = [
  ['hard', 'deny'],
  ['soft', 'report overage'],
  ['observe', 'report what would be denied'],
  ['approval', 'ask for approval'],
];

const results = { soft: 'counts on', approval: 'asks for approval', observe: 'only observes' };

/** What happens at the limit. */
export const resultWords = (group) => results[group.enforcement] ?? 'denies';
