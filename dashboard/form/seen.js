// What the form suggests: events, metadata and figures of the newest calls, and what other plans and policies name.

import { useEffect, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { field } from './document.js';
import { valuesOf } from './words.js';

/** Fields that the documentation names, for an app that has made no call yet. */
const documented = ['model', 'provider', 'team', 'workflow', 'environment', 'action', 'attempt', 'fallback', 'variant', 'quality'];

/** Values offered of one field. A field with more is free text, such as the id of a request. */
const MOST_VALUES = 30;
const MOST_EVENTS = 50;

const nothing = { events: [], patterns: [], names: documented, values: new Map(), figures: new Map(), groups: new Set(), ofPolicies: new Set() };

const isNumber = (value) => /^\d+(\.\d+)?$/.test(String(value));

/** @param {{event: string, metadata: Record<string, any>}[]} calls */
function gather(calls, plans, policies) {
  const events = new Set();
  const patterns = new Set();
  const values = new Map();
  const figures = new Map();
  const note = (name, value) => values.set(name, (values.get(name) ?? new Set()).add(String(value)));
  for (const { event, metadata } of calls) {
    if (event) events.add(event);
    for (const [name, value] of Object.entries(metadata ?? {})) {
      if (isNumber(value) && !figures.has(name)) figures.set(name, value);
      note(name, value);
    }
  }
  const groups = [...plans, ...policies].flatMap((document) => document.groups);
  for (const rule of groups.flatMap((group) => field(group, 'matches') ?? [])) {
    if (rule.event) patterns.add(rule.event);
    for (const [name, filter] of Object.entries(rule.metadata ?? {})) valuesOf(filter).forEach((value) => note(name, value));
  }
  return {
    events: [...events].slice(0, MOST_EVENTS),
    patterns: [...new Set([...events, ...patterns])].slice(0, MOST_EVENTS),
    names: [...new Set([...values.keys(), ...documented])],
    values: new Map([...values].filter(([, all]) => all.size <= MOST_VALUES).map(([name, all]) => [name, [...all]])),
    figures,
    groups: new Set(groups.map((group) => group.id)),
    ofPolicies: new Set(policies.flatMap((policy) => policy.groups).map((group) => group.id)),
  };
}

/** Suggestions help, and nothing depends on them: what cannot be read is left out. */
export function useSeen() {
  const [seen, setSeen] = useState(nothing);
  useEffect(() => {
    const stop = new AbortController();
    const read = (where) => api.get(where, stop.signal).then(({ data }) => data, () => []);
    Promise.all([read(`events${api.query({ limit: 200 })}`), read('plans'), read('policies')]).then(([calls, plans, policies]) => {
      if (!stop.signal.aborted) setSeen(gather(calls, plans, policies));
    });
    return () => stop.abort();
  }, [api.place.app, api.place.mode]);
  return seen;
}
