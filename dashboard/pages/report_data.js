// Reads a report whole, or says that it could not: a part of it is never ranked as if it were everything.

import * as api from '../api.js';
import { before } from './report_range.js';

/** What the gateway ranks by itself, of all lines that there are. */
export const RANKED = ['calls', 'denials', 'observed', 'cost'];

/** Lines of one answer, and answers that are read one after the other. */
const PAGE = 1000;
const PAGES = 5;

const where = (call) => `reports/usage${api.query(call)}`;

/**
 * The lines. `ranked`: those with the most of it, since there may be others; `cut`: the first by name, and there are others.
 * @typedef {{from: string, to: string, complete: boolean, lines: any[], ranked: boolean, cut: boolean}} Lines
 * @returns {Promise<Lines>}
 */
async function readLines(call, metric, signal) {
  const timed = Boolean(call.period);
  if (!timed && RANKED.includes(metric)) {
    const { data: lines, from, to, complete } = await api.get(where({ ...call, top: metric, limit: PAGE }), signal);
    return { lines, from, to, complete, ranked: lines.length === PAGE, cut: false };
  }
  const first = await api.get(where({ ...call, limit: PAGE }), signal);
  const lines = first.data;
  let cursor = first.nextCursor;
  for (let page = 1; page < PAGES && cursor; page += 1) {
    const more = await api.get(where({ ...call, limit: PAGE, cursor }), signal);
    lines.push(...more.data);
    cursor = more.nextCursor;
  }
  return { lines, from: first.from, to: first.to, complete: first.complete, ranked: false, cut: cursor !== null };
}

/** Lines by their names. */
const byName = (lines) => new Map(lines.map((line) => [JSON.stringify(line.by), line]));

/** What is not stored any more is not known; nothing else of the report depends on it. */
const orNull = (promise) => promise.catch((error) => {
  if (error.code === 'invalid_request') return null;
  throw error;
});

/**
 * A report with its totals, and with the period before.
 * @param {{call: any, metric: string, compare: boolean}} given `compare`: line by line, too
 */
export async function readReport({ call, metric, compare }, signal) {
  const report = await readLines(call, metric, signal);
  const { by: _, period: __, ...rest } = call;
  const days = { from: report.from, to: report.to };
  const past = before(days);
  const total = (range) => api.get(where({ ...rest, ...range, limit: 1 }), signal).then(({ data }) => data[0] ?? null);
  const lines = compare && call.by && !call.period ? orNull(readLines({ ...call, ...past }, metric, signal)) : Promise.resolve(null);
  const [totals, totalsBefore, linesBefore] = await Promise.all([total(days), orNull(total(past)), lines]);
  return {
    ...report,
    totals,
    past,
    totalsBefore,
    linesBefore: linesBefore && { lines: byName(linesBefore.lines), whole: !linesBefore.ranked && !linesBefore.cut },
  };
}
