// The controls of the form. Each belongs to one path of the document, which is also its name, so that a fault that the
// API reports can be shown at it.

import { useId, useRef, useState } from '../vendor/hooks.js';
import { Field, html } from '../ui.js';
import { asNumber, pathText } from './document.js';

/**
 * What a control gets: the document, how to change it, what the API has against it, and names seen lately. `word`: what
 * such a document is called.
 * @typedef {{kind: any, word: string, document: any, faults: Record<string, string>, seen: any, get: (path: (string | number)[]) => any,
 *   set: (path: (string | number)[], value: any) => void, change: (path: (string | number)[], next: (value: any) => any) => void}} Form
 */

const shown = (value) => (value === undefined || value === null ? '' : String(value));

/** The fault of a field. `deep`: or of anything within it, for a field that shows all of that. */
export function faultOf(form, path, deep = false) {
  const name = pathText(path);
  if (form.faults[name] || !deep) return form.faults[name];
  return Object.entries(form.faults).find(([field]) => field.startsWith(`${name}.`) || field.startsWith(`${name}[`))?.[1];
}

/**
 * A line of text; empty removes the field. `number`: it is stored as a number where it is one.
 * @param {{form: Form, path: (string | number)[], label: string, hint?: any, number?: boolean, list?: string, [rest: string]: any}} given
 */
export function Text({ form, path, label, hint, number = false, ...rest }) {
  const change = (event) => form.set(path, event.target.value === '' ? undefined : number ? asNumber(event.target.value) : event.target.value);
  const name = pathText(path);
  return html`<${Field} label=${label} hint=${hint} fault=${faultOf(form, path)}>
    <input name=${name} autocomplete="off" spellcheck=${false} inputmode=${number ? 'decimal' : undefined} value=${shown(form.get(path))} onInput=${change} ...${rest} /><//>`;
}

/**
 * A choice. An option '' stands for an absent field; a value that no option has stays and is offered as it is.
 * @param {{form: Form, path: (string | number)[], label: string, options: [string, string][], hint?: any, change?: (value: string | undefined) => void}} given
 */
export function Choice({ form, path, label, options, hint, change = (value) => form.set(path, value) }) {
  const value = shown(form.get(path));
  const known = options.some(([option]) => option === value);
  const all = known ? options : [...options, /** @type {[string, string]} */ ([value, value || 'choose'])];
  return html`<${Field} label=${label} hint=${hint} fault=${faultOf(form, path)}>
    <select name=${pathText(path)} value=${value} onChange=${(event) => change(event.target.value || undefined)}>
      ${all.map(([option, title]) => html`<option key=${option} value=${option}>${title}</option>`)}</select><//>`;
}

/** A time, in UTC. One that was written in another way is shown as text. */
export function Instant({ form, path, label, hint }) {
  const value = form.get(path);
  const time = typeof value === 'string' ? new Date(value) : null;
  if (value !== undefined && !(time && Number.isFinite(time.getTime()))) return html`<${Text} form=${form} path=${path} label=${label} hint="Such as 2031-01-31T10:00:00Z." />`;
  const change = (event) => form.set(path, event.target.value ? `${event.target.value.length === 16 ? `${event.target.value}:00` : event.target.value}Z` : undefined);
  return html`<${Field} label=${`${label} (UTC)`} hint=${hint} fault=${faultOf(form, path)}>
    <input type="datetime-local" step="1" name=${pathText(path)} value=${time ? time.toISOString().slice(0, 19) : ''} onInput=${change} /><//>`;
}

/** The focus stays with an entry that was moved: on the same button, or at an end of the list on the other one. */
export function focusMoved(area, entry, up) {
  setTimeout(() => {
    const buttons = [up ? 'up' : 'down', up ? 'down' : 'up'].map((way) => area.current?.querySelector(`${entry} > .card-tools [data-move=${way}], ${entry} > .rule-line [data-move=${way}]`));
    buttons.find((button) => button && !button.disabled)?.focus();
  });
}

/** Names that a text field suggests. */
export const Suggestions = ({ id, names }) => html`<datalist id=${id}>${names.map((name) => html`<option key=${name} value=${name} />`)}</datalist>`;

/**
 * A list of short values, each removable, and a field that adds one: by Enter, a comma, or leaving it.
 * @param {{label: string, name: string, values: any[], change: (values: any[]) => void, parse?: (text: string) => any, names?: string[],
 *   hint?: any, fault?: string, quiet?: boolean}} given `quiet`: the label is for screen readers only
 */
export function Chips({ label, name, values, change, parse = (text) => text, names = [], hint, fault, quiet = false }) {
  const id = useId();
  const input = useRef(null);
  const [typed, setTyped] = useState('');
  const add = (text) => {
    const added = text.split(',').map((one) => one.trim()).filter(Boolean).map(parse);
    const fresh = added.filter((one, place) => !values.some((value) => String(value) === String(one)) && added.indexOf(one) === place);
    setTyped('');
    if (fresh.length > 0) change([...values, ...fresh]);
  };
  const remove = (place) => {
    change(values.filter((_, other) => other !== place));
    input.current.focus();
  };
  const onKeyDown = (event) => {
    if (event.key !== 'Enter' || !typed.trim()) return;
    event.preventDefault();
    add(typed);
  };
  const onInput = (event) => (event.target.value.includes(',') ? add(event.target.value) : setTyped(event.target.value));
  const about = [fault && `${id}-fault`, hint && `${id}-hint`].filter(Boolean).join(' ');
  return html`<div class="field chips" role="group" aria-label=${label}>
    ${!quiet && html`<label for=${id}>${label}</label>`}
    <div class="chip-row">
      ${values.map((value, place) => html`<span class="chip" key=${String(value)}><bdi>${String(value)}</bdi><button type="button" aria-label=${`Remove ${value} from ${label}`} onClick=${() => remove(place)}>×</button></span>`)}
      <input ref=${input} id=${id} name=${name} aria-label=${quiet ? `Add to ${label}` : undefined} aria-describedby=${about || undefined} aria-invalid=${fault ? 'true' : undefined} autocomplete="off" spellcheck=${false}
        list=${names.length > 0 ? `${id}-names` : undefined} placeholder="Add…" value=${typed} onInput=${onInput} onKeyDown=${onKeyDown} onBlur=${() => add(typed)} />
      ${names.length > 0 && html`<${Suggestions} id=${`${id}-names`} names=${names} />`}
    </div>
    ${fault && html`<p class="fault" id=${`${id}-fault`} role="alert">${fault}</p>`}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}
