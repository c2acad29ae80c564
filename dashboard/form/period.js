// Period and anchor: of a whole document, or of one group that differs from it.

import { html } from '../ui.js';
import { field } from './document.js';
import { Choice, Instant, Suggestions, Text } from './fields.js';
import { periodOf, periods } from './words.js';

const weekDays = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'];

const zones = Intl.supportedValuesOf('timeZone');

/** Fields that only some periods have. The API refuses them with any other period. */
const only = { every: ['every'], start: ['every', 'fixed'], end: ['fixed'] };

/** A period without the fields that it cannot have. */
function withType(thing, type, name) {
  const kept = Object.entries(thing).filter(([key]) => !only[key] || only[key].includes(type));
  const { [name]: _, ...others } = Object.fromEntries(kept);
  return type === undefined ? others : { ...others, [name]: type };
}

/** Has windows that are counted from the calendar or from the subscription. */
const hasAnchor = (type) => !['fixed', 'lifetime', 'concurrent'].includes(type);

/**
 * The type of the period alone.
 * @param {{form: import('./fields.js').Form, path: (string | number)[]}} given
 */
export function PeriodType({ form, path }) {
  const thing = path.length > 0 ? form.get(path) : form.document;
  const name = Object.hasOwn(thing, 'period') && !Object.hasOwn(thing, 'periodType') ? 'period' : 'periodType';
  const first = path.length > 0 ? `as the ${form.word}` : 'each group has its own';
  return html`<${Choice} form=${form} path=${[...path, 'periodType']} label=${path.length > 0 ? 'Per' : 'Period'} options=${[['', first], ...periods]}
    change=${(type) => form.change(path, (thing) => withType(thing, type, name))} />`;
}

/** Everything else about it, as far as the type has it. */
export function PeriodDetails({ form, path }) {
  const thing = path.length > 0 ? form.get(path) : form.document;
  const type = periodOf(thing, form.document);
  const has = (name) => thing[name] !== undefined || form.faults[`${path.length > 0 ? `groups[${path[1]}].` : ''}${name}`];
  const anchor = field(thing, 'periodAnchor') ?? field(form.document, 'periodAnchor');
  const first = path.length > 0 ? `as the ${form.word}` : '';
  const anchors = [['', first || 'calendar (default)'], ['calendar', 'calendar'], ['subscription_start', 'subscription start']];
  return html`
    ${(type === 'every' || has('every')) && html`<${Text} form=${form} path=${[...path, 'every']} label="Length" hint="ISO 8601: P30D, PT90M." />`}
    ${(hasAnchor(type) || field(thing, 'periodAnchor') !== undefined) && html`<${Choice} form=${form} path=${[...path, 'periodAnchor']} label="Counted from" options=${anchors} />`}
    ${((type === 'every' && anchor !== 'subscription_start') || type === 'fixed' || has('start')) && html`<${Instant} form=${form} path=${[...path, 'start']} label="Start" />`}
    ${(type === 'fixed' || has('end')) && html`<${Instant} form=${form} path=${[...path, 'end']} label="End" />`}
    ${(hasAnchor(type) || has('timezone')) && html`<${Text} form=${form} path=${[...path, 'timezone']} label="Time zone" list="form-zones" placeholder=${path.length > 0 ? `as the ${form.word}` : 'UTC'} />`}
    ${(type === 'weekly' || has('weekStart')) && html`<${Choice} form=${form} path=${[...path, 'weekStart']} label="Week starts on" options=${[['', first || 'monday (default)'], ...weekDays.map((day) => [day, day])]} />`}`;
}

export const Zones = () => html`<${Suggestions} id="form-zones" names=${zones} />`;
