// One limit group as a card: what it limits, what it counts, and what happens at the limit.

import { useRef, useState } from '../vendor/hooks.js';
import { Field, html } from '../ui.js';
import { asNumber, field, listOrNothing, pathText, slug, unused } from './document.js';
import { Chips, Choice, Text, faultOf } from './fields.js';
import { Measure } from './measure.js';
import { PeriodDetails, PeriodType } from './period.js';
import { Rules } from './rules.js';
import { enforcements, limitWords, resultWords, ruleWords } from './words.js';

/** @type {[string, string][]} */
const units = [['count', 'count'], ['tokens', 'tokens'], ['seconds', 'seconds'], ['cents', 'cents']];

/** @type {[string, string][]} */
const planChanges = [['', 'goes on with what was used (default)'], ['carry', 'goes on with what was used'], ['reset', 'starts at 0'], ['block', 'is full until its next window']];

/** A name that is not one of these is a metadata field. */
const scopeName = (text) => (['user', 'app', 'key'].includes(text) || text.startsWith('metadata.') ? text : `metadata.${text}`);

function Quota({ form, path, group }) {
  const unlimited = group.quota === null;
  const last = useRef(100);
  const toggle = (event) => {
    if (event.target.checked) last.current = group.quota ?? 100;
    form.set([...path, 'quota'], event.target.checked ? null : last.current);
  };
  const name = pathText([...path, 'quota']);
  const type = (event) => form.set([...path, 'quota'], event.target.value === '' ? undefined : asNumber(event.target.value));
  return html`<div class="quota">
    <${Field} label="Limit" fault=${faultOf(form, [...path, 'quota'])}>
      <input name=${name} inputmode="decimal" autocomplete="off" disabled=${unlimited} placeholder=${unlimited ? 'no limit' : ''} value=${unlimited || group.quota === undefined ? '' : String(group.quota)} onInput=${type} /><//>
    <label class="check"><input type="checkbox" name=${`${name}-none`} checked=${unlimited} onChange=${toggle} /> No limit</label>
  </div>`;
}

/** Unused quota that becomes extra quota of the next window. */
function Rollover({ form, path, group }) {
  const set = (event) => form.set([...path, 'rollover'], event.target.value === '' ? undefined : { max: asNumber(event.target.value) });
  return html`<${Field} label="Roll over unused quota, at most" fault=${faultOf(form, [...path, 'rollover'], true)} hint="It becomes extra quota of the next window. Empty: nothing.">
    <input name=${pathText([...path, 'rollover', 'max'])} inputmode="decimal" autocomplete="off" value=${group.rollover?.max ?? ''} onInput=${set} /><//>`;
}

/** The label gives a new group its id, until somebody writes another. */
function Names({ form, path, group, saved }) {
  // Two plans may use the same group id; a user who moves between them then keeps the counter. A policy's ids are its own.
  const known = form.kind.path === 'plans' ? form.seen.ofPolicies : form.seen.groups;
  const others = new Set([...known, ...form.document.groups.filter((other) => other !== group).map((other) => other.id)]);
  const [auto, setAuto] = useState(!saved);
  const label = field(group, 'label');
  const setLabel = (event) => {
    const text = event.target.value;
    form.set([...path, 'label'], text === '' ? undefined : text);
    if (auto && slug(text)) form.set([...path, 'id'], unused(slug(text), others));
  };
  const setId = (event) => {
    setAuto(false);
    form.set([...path, 'id'], event.target.value);
  };
  const renamed = saved && saved !== group.id;
  return html`
    <div class="named-field"><${Field} label="Label" fault=${faultOf(form, [...path, 'label'])}><input name=${pathText([...path, 'label'])} autocomplete="off" placeholder=${group.id ?? ''} value=${label ?? ''} onInput=${setLabel} /><//></div>
    <div class="named-field"><${Field} label="ID" fault=${faultOf(form, [...path, 'id'])} hint=${renamed ? html`Counters belong to the ID: they start at 0 under the new one. It was <code>${saved}</code>.` : undefined}>
      <input name=${pathText([...path, 'id'])} autocomplete="off" spellcheck=${false} value=${group.id ?? ''} onInput=${setId} /><//></div>`;
}

/** What the application gets with a denial. */
function OnLimit({ form, path, group }) {
  const onLimit = group.onLimit ?? {};
  const set = (name) => (event) => form.change([...path, 'onLimit'], (all) => {
    const { [name]: _, ...others } = all ?? {};
    const next = event.target.value === '' ? others : { ...others, [name]: event.target.value };
    return Object.keys(next).length > 0 ? next : undefined;
  });
  const setFallback = (event) => form.change([...path, 'onLimit'], (all) => {
    const { fallback, ...others } = all ?? {};
    const next = event.target.value === '' ? others : { ...others, fallback: { ...fallback, event: event.target.value } };
    return Object.keys(next).length > 0 ? next : undefined;
  });
  const setMetadata = (values) => form.change([...path, 'onLimit', 'fallback', 'metadata'], () => (values.length > 0 ? Object.fromEntries(values.map((pair) => [pair.split('=')[0], pair.split('=').slice(1).join('=')])) : undefined));
  const name = pathText([...path, 'onLimit']);
  return html`<fieldset><legend>A denial contains</legend>
    <div class="fields">
      <${Field} label="Message" fault=${faultOf(form, [...path, 'onLimit', 'message'])}><input name=${`${name}.message`} value=${onLimit.message ?? ''} onInput=${set('message')} /><//>
      <${Field} label="Upgrade URL" fault=${faultOf(form, [...path, 'onLimit', 'upgradeUrl'])}><input name=${`${name}.upgradeUrl`} inputmode="url" value=${onLimit.upgradeUrl ?? ''} onInput=${set('upgradeUrl')} /><//>
      <${Field} label="Event to call instead" fault=${faultOf(form, [...path, 'onLimit', 'fallback'], true)}><input name=${`${name}.fallback.event`} list="form-events" spellcheck=${false} value=${onLimit.fallback?.event ?? ''} onInput=${setFallback} /><//>
      ${onLimit.fallback && html`<${Chips} label="With metadata" name=${`${name}.fallback.metadata`} hint="model=small" values=${Object.entries(onLimit.fallback.metadata ?? {}).map(([key, value]) => `${key}=${value}`)} change=${setMetadata} />`}
    </div>
    ${form.faults[name] && html`<p class="fault" role="alert">${form.faults[name]}</p>`}
  </fieldset>`;
}

/** Its period is not complete without a length or dates. */
const needsDates = (group) => ['every', 'fixed'].includes(field(group, 'periodType'));

const isBalance = (group) => group.kind === 'balance';

/** When alerts are sent: at percentages of a limit, or below amounts of a balance. */
const Alerts = ({ form, path, group }) => isBalance(group)
  ? html`<${Chips} label="Alerts when so much is left" name=${pathText([...path, 'alertsBelow'])} hint="An alert and a webhook, once until there are more credits: 10, 0." values=${group.alertsBelow ?? []} parse=${asNumber}
    change=${(values) => form.set([...path, 'alertsBelow'], listOrNothing([...values].sort((one, other) => other - one)))} fault=${faultOf(form, [...path, 'alertsBelow'], true)} />`
  : html`<${Chips} label="Alerts at percent of the limit" name=${pathText([...path, 'alerts'])} hint="An alert and a webhook, once per window: 80, 100." values=${group.alerts ?? []} parse=${asNumber}
    change=${(values) => form.set([...path, 'alerts'], listOrNothing([...values].sort((one, other) => one - other)))} fault=${faultOf(form, [...path, 'alerts'], true)} />`;

const More = ({ form, path, group }) => html`<details class="more"><summary>More: period, alerts, covered events, messages</summary>
  <div class="fields">
    ${!isBalance(group) && !needsDates(group) && html`<${PeriodDetails} form=${form} path=${path} />`}
    <${Text} form=${form} path=${[...path, 'maxPerCall']} label="Most in one call" number hint="A larger call is denied." />
    ${!isBalance(group) && html`<${Rollover} form=${form} path=${path} group=${group} />
      <${Text} form=${form} path=${[...path, 'overflow']} label="Then take from the balance" hint="The ID of a balance group. Empty: deny." />`}
    ${!isBalance(group) && form.kind.path === 'plans' && html`<${Choice} form=${form} path=${[...path, 'onPlanChange']} label="When a user moves to this plan, it" options=${planChanges} />`}
  </div>
  <${Alerts} form=${form} path=${path} group=${group} />
  <${Chips} label="Must be matched" name=${pathText([...path, 'covers'])} hint="Events of these names that no rule above matches are denied, such as a model without a price." names=${form.seen.events} values=${group.covers ?? []}
    change=${(values) => form.set([...path, 'covers'], listOrNothing(values))} fault=${faultOf(form, [...path, 'covers'], true)} />
  <${OnLimit} form=${form} path=${path} group=${group} />
</details>`;

/** Fields that only the JSON shows; they stay as they are. */
const shownFields = new Set(['id', 'label', 'name', 'kind', 'unit', 'quota', 'rollover', 'overflow', 'alertsBelow', 'maxPerCall', 'measure', 'matches', 'match', 'covers', 'periodType', 'period', 'periodAnchor', 'anchor', 'timezone', 'weekStart', 'every', 'start', 'end', 'scope', 'enforcement', 'alerts', 'onLimit', 'onPlanChange']);

function Body({ form, path, group, saved }) {
  const rules = field(group, 'matches') ?? [];
  const unseen = Object.keys(group).filter((name) => !shownFields.has(name));
  return html`<div class="card-body">
    <div class="fields">
      <${Names} form=${form} path=${path} group=${group} saved=${saved} />
      ${!isBalance(group) && html`<${Quota} form=${form} path=${path} group=${group} />`}
      <${Choice} form=${form} path=${[...path, 'unit']} label="Unit" options=${units} />
      ${!isBalance(group) && html`<${PeriodType} form=${form} path=${path} />`}
      ${!isBalance(group) && needsDates(group) && html`<${PeriodDetails} form=${form} path=${path} />`}
      ${!isBalance(group) && html`<${Choice} form=${form} path=${[...path, 'enforcement']} label="At the limit" options=${group.enforcement === undefined ? [['', 'deny (default)'], ...enforcements] : enforcements} />`}
    </div>
    <${Rules} form=${form} path=${path} rules=${rules} unit=${group.unit} group=${field(group, 'label') || group.id} groupMeasure=${group.measure} />
    ${(group.measure !== undefined || rules.some((rule) => rule.measure === undefined)) && html`<${Measure} form=${form} path=${[...path, 'measure']} unit=${group.unit} label=${field(group, 'label') ?? group.id} />`}
    <${Chips} label="A counter for each" name=${pathText([...path, 'scope'])} hint="user (default), app, key, or a metadata field such as team. With several, each combination has its own." names=${['user', 'app', 'key', ...form.seen.names.map((name) => `metadata.${name}`)]}
      values=${group.scope ?? ['user']} parse=${scopeName} change=${(values) => form.set([...path, 'scope'], listOrNothing(values))} fault=${faultOf(form, [...path, 'scope'], true)} />
    <${More} form=${form} path=${path} group=${group} />
    ${unseen.length > 0 && html`<p class="hint">Only in the JSON, and kept: ${unseen.map((name, place) => html`${place > 0 && ', '}<code>${name}</code>`)}.</p>`}
  </div>`;
}

/**
 * @param {{form: import('./fields.js').Form, place: number, count: number, saved: string | undefined,
 *   actions: {move: (to: number) => void, copy: () => void, remove: () => void}, drag: any}} given `saved`: the id of the group in the stored document
 */
export function GroupCard({ form, place, count, saved, actions, drag }) {
  const path = ['groups', place];
  const group = form.document.groups[place];
  const label = field(group, 'label') || group.id || `group ${place + 1}`;
  const faults = Object.keys(form.faults).filter((name) => name.startsWith(`groups[${place}]`)).length;
  return html`<li class=${`card ${drag.over === place ? 'over' : ''}`} data-card=${group.id} onDragOver=${drag.onOver(place)} onDrop=${drag.onDrop(place)}>
    <div class="card-tools">
      <span class="handle" draggable="true" title="Drag to another place" aria-hidden="true" onDragStart=${drag.onStart(place)} onDragEnd=${drag.onEnd}>⠿</span>
      <button type="button" class="quiet-button" data-move="up" aria-label=${`Move ${label} up`} disabled=${place === 0} onClick=${() => actions.move(place - 1)}>↑</button>
      <button type="button" class="quiet-button" data-move="down" aria-label=${`Move ${label} down`} disabled=${place === count - 1} onClick=${() => actions.move(place + 1)}>↓</button>
      <button type="button" class="quiet-button" aria-label=${`Copy ${label}`} onClick=${actions.copy}>Copy</button>
      <button type="button" class="quiet-button danger" aria-label=${`Remove ${label}`} onClick=${actions.remove}>Remove</button>
    </div>
    <details class="card-details" open>
      <summary><strong><bdi>${label}</bdi></strong>${faults > 0 ? html` <span class="badge bad">${faults === 1 ? '1 fault' : `${faults} faults`}</span>` : ''}
        <span class="quiet card-words">${limitWords(group, form.document)} · ${(field(group, 'matches') ?? []).map(ruleWords).join(', ') || 'no events'} · ${resultWords(group)}</span></summary>
      <${Body} form=${form} path=${path} group=${group} saved=${saved} />
    </details>
  </li>`;
}
