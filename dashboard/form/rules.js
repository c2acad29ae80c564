// Match rules: which events a group counts. A rule is an event and filters of its metadata.

import { useEffect, useRef, useState } from '../vendor/hooks.js';
import { Field, html } from '../ui.js';
import { globMatches, moved, pathText } from './document.js';
import { Chips, Suggestions, faultOf, focusMoved } from './fields.js';
import { useKeys } from './keys.js';
import { Measure } from './measure.js';
import { valuesOf } from './words.js';

/** Buttons for events that were seen, at most so many. */
const MOST_OFFERED = 6;

function Filters({ form, path, rule, label }) {
  const [adding, setAdding] = useState(false);
  const [name, setName] = useState('');
  const area = useRef(null);
  const fresh = useRef(null);
  const metadata = rule.metadata ?? {};
  useEffect(() => {
    if (adding) area.current.querySelector('.adder input').focus();
  }, [adding]);
  useEffect(() => {
    // The filter that was just added waits for its values.
    const input = fresh.current !== null && area.current.querySelector(`[data-filter="${CSS.escape(fresh.current)}"] input`);
    if (!input) return;
    input.focus();
    fresh.current = null;
  });
  const set = (field, values) => form.change([...path, 'metadata'], (all) => ({ ...all, [field]: values.length === 1 ? values[0] : values }));
  const remove = (field) => {
    form.change([...path, 'metadata'], (all) => {
      const { [field]: _, ...others } = all;
      return Object.keys(others).length > 0 ? others : undefined;
    });
    area.current.querySelector('.add-filter')?.focus();
  };
  const add = () => {
    const field = name.trim();
    setAdding(false);
    setName('');
    if (!field || Object.hasOwn(metadata, field)) return;
    fresh.current = field;
    form.change([...path, 'metadata'], (all) => ({ ...all, [field]: [] }));
  };
  const onKeyDown = (event) => {
    if (event.key !== 'Enter' && event.key !== 'Escape') return;
    event.preventDefault();
    if (event.key === 'Enter') add();
    else setAdding(false);
  };
  const id = pathText(path);
  return html`<div class="filters" ref=${area}>
    ${Object.entries(metadata).map(([field, filter]) => html`<div class="filter-row" key=${field} data-filter=${field}>
      <code>${field}</code> is
      <${Chips} quiet label=${`${field} of ${label}`} name=${`${id}.metadata.${field}`} values=${valuesOf(filter)} names=${form.seen.values.get(field) ?? []} change=${(values) => set(field, values)} fault=${faultOf(form, [...path, 'metadata', field])} />
      <button type="button" class="quiet-button" aria-label=${`Remove the filter ${field} of ${label}`} onClick=${() => remove(field)}>Remove</button>
    </div>`)}
    ${adding
      ? html`<div class="row adder"><${Field} label="Metadata field"><input name=${`${id}.metadata`} list="form-names" autocomplete="off" spellcheck=${false} placeholder="model" value=${name} onInput=${(event) => setName(event.target.value)} onKeyDown=${onKeyDown} /><//>
        <button type="button" onClick=${add} disabled=${!name.trim()}>Add</button></div>`
      : html`<button type="button" class="add-filter quiet-button" aria-label=${`Metadata filter for ${label}`} onClick=${() => setAdding(true)}>+ Metadata filter</button>`}
  </div>`;
}

function Rule({ form, path, rule, place, count, unit, group, groupMeasure, move, remove }) {
  const [own, setOwn] = useState(false);
  const label = `rule ${place + 1} of ${group}`;
  const ownWord = unit === 'cents' ? 'Own price' : 'Own weight';
  const measured = own || rule.measure !== undefined;
  return html`<li class="rule">
    <div class="rule-line">
      <${Field} label=${count > 1 ? `Event of rule ${place + 1}` : 'Event'} fault=${faultOf(form, [...path, 'event'])}>
        <input name=${pathText([...path, 'event'])} list="form-events" autocomplete="off" spellcheck=${false} placeholder="image.*" value=${rule.event ?? ''} onInput=${(event) => form.set([...path, 'event'], event.target.value)} /><//>
      <div class="tools">
        ${!measured && html`<button type="button" class="quiet-button" aria-label=${`${ownWord} of ${label}`} onClick=${() => setOwn(true)}>${ownWord}</button>`}
        ${count > 1 && html`<button type="button" class="quiet-button" data-move="up" aria-label=${`Move ${label} up`} disabled=${place === 0} onClick=${() => move(place - 1)}>↑</button>
          <button type="button" class="quiet-button" data-move="down" aria-label=${`Move ${label} down`} disabled=${place === count - 1} onClick=${() => move(place + 1)}>↓</button>
          <button type="button" class="quiet-button" aria-label=${`Remove ${label}`} onClick=${remove}>Remove</button>`}
      </div>
    </div>
    <${Filters} form=${form} path=${path} rule=${rule} label=${label} />
    ${measured && html`<${Measure} ofRule form=${form} path=${[...path, 'measure']} unit=${unit} label=${label} />`}
    ${!measured && groupMeasure === undefined && unit === 'cents' && html`<p class="hint">Without a price, the quantity of the call counts as cents.</p>`}
  </li>`;
}

/**
 * The rules of one group.
 * @param {{form: import('./fields.js').Form, path: (string | number)[], rules: any[], unit: string, group: string, groupMeasure: any}} given `group`: what it is called
 */
export function Rules({ form, path, rules, unit, group, groupMeasure }) {
  const area = useRef(null);
  const keys = useKeys();
  const list = [...path, 'matches'];
  const names = keys.of(rules.length);
  const add = (event) => {
    form.change(list, (all) => [...(all ?? []), { event }]);
    if (event === '') setTimeout(() => area.current?.querySelector('li:last-of-type input')?.focus());
  };
  const move = (from, to) => {
    keys.move(from, to);
    form.change(list, (all) => moved(all, from, to));
    focusMoved(area, `.rules > ol > li:nth-child(${to + 1})`, to < from);
  };
  const remove = (place) => {
    keys.remove(place);
    form.change(list, (all) => all.filter((_, other) => other !== place));
    area.current.querySelector('.add-rule').focus();
  };
  const missed = form.seen.events.filter((event) => !rules.some((rule) => globMatches(rule.event ?? '', event))).slice(0, MOST_OFFERED);
  return html`<fieldset class="rules" ref=${area}><legend>Counts these events</legend>
    ${faultOf(form, list) && html`<p class="fault" role="alert">${faultOf(form, list)}</p>`}
    <ol>${rules.map((rule, place) => html`<${Rule} key=${names[place]} form=${form} path=${[...list, place]} rule=${rule} place=${place} count=${rules.length} unit=${unit} group=${group} groupMeasure=${groupMeasure}
      move=${(to) => move(place, to)} remove=${() => remove(place)} />`)}</ol>
    <div class="row"><button type="button" class="add-rule" onClick=${() => add('')}>Add rule</button>
      ${missed.length > 0 && html`<span class="quiet">Seen lately:</span>${missed.map((event) => html`<button type="button" key=${event} class="chip-button" aria-label=${`Count ${event} in ${group}`} onClick=${() => add(event)}>+ <bdi>${event}</bdi></button>`)}`}
    </div>
  </fieldset>`;
}

export const Names = ({ seen }) => html`<${Suggestions} id="form-events" names=${seen.patterns} /><${Suggestions} id="form-names" names=${seen.names} />`;
