// The columns that a report can have: their titles, their figures and how these are written.

import { figure, number, unitName } from '../ui.js';

const counts = ['calls', 'denials', 'observed', 'released', 'expiries', 'late', 'degraded', 'draws', 'refunds', 'accepted', 'rejected', 'retries', 'quantity'];

const inUnit = (title, unit) => (unitName(unit) ? `${title} (${unit})` : title);

const titles = { observed: () => 'Would be denied', costPerAccepted: () => inUnit('Cost per accepted', 'cents'), retryShare: () => 'Retry share', cost: () => inUnit('Cost', 'cents') };

const title = (name) => titles[name]?.() ?? name.charAt(0).toUpperCase() + name.slice(1);

/**
 * @typedef {{name: string, title: string, read: (line: any) => number | null | undefined, unit?: string, usual: boolean}} Column
 * `usual`: it is shown unless somebody chooses otherwise.
 */

/** A ratio with three digits, or with two places from 1 on: more of them are not read. */
const ratio = (value) => (value === null || value === undefined ? value : Number(Math.abs(value) < 1 ? value.toPrecision(3) : value.toFixed(2)));

/** What became of the credits of balances, beside what was used of them. */
const ofCredits = ['credited', 'lapsed', 'voided'];

/** What a group was charged is in a column for each group; by group in one, since a line is of one group. */
function charges(lines) {
  const ofGroups = lines.some((line) => line.by.group !== undefined);
  if (ofGroups) return [{ name: 'charged', title: 'Charged', read: (line) => line.charged[0]?.amount, unit: 'line', usual: true }];
  const groups = new Map(lines.flatMap((line) => line.charged.map((charge) => [charge.groupId, charge.unit])));
  return [...groups].sort(([one], [other]) => (one < other ? -1 : 1)).map(([groupId, unit]) => ({
    name: `charged.${groupId}`,
    title: unitName(unit) ? `${groupId} (${unit})` : `${groupId} (charged)`,
    read: (line) => line.charged.find((charge) => charge.groupId === groupId)?.amount ?? 0,
    unit,
    usual: false,
  }));
}

/** The same for credits; a balance without any has no column. */
function credits(lines) {
  const ofGroups = lines.some((line) => line.by.group !== undefined);
  return ofCredits.flatMap((name) => {
    const some = lines.flatMap((line) => line.charged.filter((charge) => charge[name]));
    if (ofGroups) return some.length === 0 ? [] : [{ name, title: title(name), read: (line) => line.charged[0]?.[name] ?? 0, unit: 'line', usual: true }];
    const balances = new Map(some.map((charge) => [charge.groupId, charge.unit]));
    return [...balances].sort(([one], [other]) => (one < other ? -1 : 1)).map(([groupId, unit]) => ({
      name: `${name}.${groupId}`,
      title: `${inUnit(groupId, unit)}: ${name}`,
      read: (line) => line.charged.find((charge) => charge.groupId === groupId)?.[name] ?? 0,
      unit,
      usual: false,
    }));
  });
}

/**
 * Every column in which something stands.
 * @returns {Column[]}
 */
export function columnsOf(lines) {
  const some = (read) => lines.some((line) => read(line));
  const names = (read) => [...new Set(lines.flatMap((line) => Object.keys(read(line) ?? {})))].sort();
  const always = ['calls', 'denials'];
  const simple = counts.filter((name) => always.includes(name) || some((line) => line[name]));
  return [
    ...simple.map((name) => ({ name, title: title(name), read: (line) => line[name], usual: always.includes(name) || name === 'observed' })),
    ...(some((line) => line.cost) ? [{ name: 'cost', title: title('cost'), read: (line) => line.cost, unit: 'cents', usual: true }] : []),
    ...charges(lines),
    ...credits(lines),
    ...['costPerAccepted', 'retryShare'].filter((name) => some((line) => line[name])).map((name) => ({ name, title: title(name), read: (line) => (name === 'retryShare' ? ratio(line[name]) : line[name]), unit: name === 'costPerAccepted' ? 'cents' : undefined, usual: false })),
    ...names((line) => line.ratios).map((name) => ({ name, title: name, read: (line) => ratio(line.ratios[name]), usual: true })),
    ...names((line) => line.figures).map((name) => ({ name, title: name, read: (line) => line.figures?.[name], usual: false })),
    ...names((line) => line.denialsByReason).map((name) => ({ name: `denied.${name}`, title: `denied: ${name}`, read: (line) => line.denialsByReason?.[name] ?? 0, usual: false })),
  ];
}

/** A figure of a column in words. @param {Column} column */
export function cell(column, line) {
  const value = column.read(line);
  if (value === null || value === undefined) return '–';
  const unit = column.unit === 'line' ? line.charged[0]?.unit : column.unit;
  return `${figure(value, unit)}${column.unit === 'line' ? unitName(unit) : ''}`;
}

/** "+12 %", "same", "from 0", or a dash where nothing is known. */
export function change(value, past) {
  if (value === null || value === undefined || past === null || past === undefined) return '–';
  if (value === past) return 'same';
  if (past === 0) return 'from 0';
  const percent = ((value - past) / Math.abs(past)) * 100;
  return `${percent > 0 ? '+' : '−'}${number(Math.abs(percent) >= 10 ? Math.round(Math.abs(percent)) : Number(Math.abs(percent).toFixed(1)))} %`;
}
