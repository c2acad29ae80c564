// How much one call counts, with an example that is computed as it is typed.

import { useState } from '../vendor/hooks.js';
import { Field, html } from '../ui.js';
import { asNumber, pathText } from './document.js';
import { weighed } from './decimal.js';
import { Suggestions, faultOf } from './fields.js';

const isWeighted = (measure) => typeof measure === 'object' && measure !== null;

/** Figures of the example for fields of which no event is known. */
const usual = { prompt_tokens: 800, completion_tokens: 200, cached_tokens: 100, quantity: 1 };

/** As people say them: the prompt first. */
const order = ['prompt_tokens', 'completion_tokens'];
const fieldsOf = (per) => Object.keys(per).sort((one, other) => (order.indexOf(one) + 1 || 3) - (order.indexOf(other) + 1 || 3));

const words = (name) => name.replaceAll('_', ' ');

/** @param {string[]} parts */
const sentence = (parts) => (parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`);

/** Money has a price, other units a weight. */
const wordOf = (unit) => (unit === 'cents' ? 'price' : 'weight');

/** "800 prompt tokens and 200 completion tokens cost 0.4 cents." */
export function example(per, figures, unit) {
  const sum = weighed(per, figures, unit);
  if (sum === null) return `Every ${wordOf(unit)} is a number, such as 0.00025.`;
  const fields = fieldsOf(per).filter((name) => name !== 'event');
  const what = fields.length > 0 ? sentence(fields.map((name) => `${figures[name]} ${words(name)}`)) : '1 call';
  const many = fields.length > 1 || Number(figures[fields[0]]) > 1;
  const verb = unit === 'cents' ? (many ? 'cost' : 'costs') : many ? 'count as' : 'counts as';
  return `${what} ${verb} ${sum}${unit === 'count' || !unit ? '' : ` ${unit}`}.`;
}

/** A weight, the estimate for a reserve that does not know the field yet, and the button that removes both. */
function Weight({ form, path, field, weight, estimate, unit, label }) {
  const id = pathText(path);
  const setWeight = (event) => form.set([...path, 'per', field], asNumber(event.target.value));
  const setEstimate = (event) => form.change([...path, 'estimate'], (all) => {
    const { [field]: _, ...others } = all ?? {};
    const next = event.target.value === '' ? others : { ...others, [field]: asNumber(event.target.value) };
    return Object.keys(next).length > 0 ? next : undefined;
  });
  const remove = () => form.change(path, (measure) => {
    const { [field]: _, ...per } = measure.per;
    const { [field]: __, ...estimates } = measure.estimate ?? {};
    const { estimate: ___, ...rest } = measure;
    return { ...rest, per, ...(Object.keys(estimates).length > 0 ? { estimate: estimates } : {}) };
  });
  const fixed = field === 'event';
  return html`<div class="weight" role="group" aria-label=${`${words(field)} of ${label}`}>
    <code>${field === 'event' ? 'event (each call)' : field}</code>
    <${Field} label=${unit === 'cents' ? 'Price (cents)' : 'Weight'} fault=${faultOf(form, [...path, 'per', field])}><input name=${`${id}.per.${field}`} inputmode="decimal" autocomplete="off" value=${String(weight)} onInput=${setWeight} /><//>
    ${isWeighted(estimate) ? html`<p class="hint">The estimate is learned; change it as JSON.</p>` : !fixed && html`<${Field} label="Estimate" fault=${faultOf(form, [...path, 'estimate', field])}>
      <input name=${`${id}.estimate.${field}`} inputmode="decimal" autocomplete="off" placeholder="needed" value=${estimate === undefined ? '' : String(estimate)} onInput=${setEstimate} /><//>`}
    <button type="button" class="quiet-button" aria-label=${`Remove the ${wordOf(unit)} of ${words(field)}`} onClick=${remove}>Remove</button>
  </div>`;
}

function Weights({ form, path, measure, unit, label }) {
  const [typed, setTyped] = useState('');
  const [figures, setFigures] = useState(/** @type {Record<string, any>} */ ({}));
  const per = measure.per ?? {};
  const fields = fieldsOf(per);
  const figure = (name) => figures[name] ?? form.seen.figures.get(name) ?? usual[name] ?? 100;
  const all = Object.fromEntries(fields.map((name) => [name, figure(name)]));
  const add = () => {
    const name = typed.trim();
    setTyped('');
    if (name && !Object.hasOwn(per, name)) form.change([...path, 'per'], (per) => ({ ...per, [name]: '' }));
  };
  const onKeyDown = (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    add();
  };
  const id = pathText(path);
  const offered = ['prompt_tokens', 'completion_tokens', 'cached_tokens', 'quantity', 'event', ...form.seen.figures.keys()];
  return html`
    ${fields.map((name) => html`<${Weight} key=${name} form=${form} path=${path} field=${name} weight=${per[name]} estimate=${measure.estimate?.[name]} unit=${unit} label=${label} />`)}
    ${fields.some((name) => name !== 'event') && html`<p class="hint">The estimate counts while a reserve does not know the field.</p>`}
    <div class="row adder">
      <${Field} label="Field" fault=${form.faults[`${id}.per`]}><input name=${`${id}.per`} list=${`${id}-fields`} autocomplete="off" spellcheck=${false} placeholder="prompt_tokens" value=${typed} onInput=${(event) => setTyped(event.target.value)} onKeyDown=${onKeyDown} /><//>
      <button type="button" disabled=${!typed.trim()} onClick=${add}>Add ${wordOf(unit)}</button>
      <${Suggestions} id=${`${id}-fields`} names=${[...new Set(offered)].filter((name) => !Object.hasOwn(per, name))} />
    </div>
    ${fields.length > 0 && html`<div class="example">
      <div class="row">${fields.filter((name) => name !== 'event').map((name) => html`<label key=${name}>${words(name)} <input class="short" inputmode="decimal" aria-label=${`Example: ${words(name)}`} value=${String(figure(name))} onInput=${(event) => setFigures({ ...figures, [name]: event.target.value })} /></label>`)}</div>
      <output aria-live="polite">${example(per, all, unit)}</output>
    </div>`}`;
}

/**
 * The measure of a group, or of one rule of it.
 * @param {{form: import('./fields.js').Form, path: (string | number)[], unit: string, label: string, ofRule?: boolean}} given
 */
export function Measure({ form, path, unit, label, ofRule = false }) {
  const measure = form.get(path);
  const kind = isWeighted(measure) ? 'weights' : measure ?? '';
  const options = [
    ['', ofRule ? 'as the group' : 'the quantity of the call'],
    ...(ofRule ? [['quantity', 'the quantity of the call']] : [['quantity', 'the quantity, also beside groups of other units']]),
    ['event', '1 per call'],
    ['weights', unit === 'cents' ? 'a price per field' : 'a weight per field'],
  ];
  const choose = (event) => {
    const chosen = event.target.value;
    form.set(path, chosen === 'weights' ? { per: { prompt_tokens: '', completion_tokens: '' } } : chosen || undefined);
  };
  const known = options.some(([option]) => option === kind);
  return html`<div class="measure">
    <${Field} label=${ofRule ? 'A call that matches counts' : 'A call counts'} fault=${faultOf(form, path)}>
      <select name=${pathText(path)} value=${kind} onChange=${choose}>${(known ? options : [...options, [kind, kind]]).map(([value, title]) => html`<option key=${value} value=${value}>${title}</option>`)}</select><//>
    ${isWeighted(measure) && html`<${Weights} form=${form} path=${path} measure=${measure} unit=${unit} label=${label} />`}
  </div>`;
}
