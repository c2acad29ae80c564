// The form of a plan or policy. It changes the document field by field; the editor makes JSON of it and has it checked.

import { useRef, useState } from '../vendor/hooks.js';
import { ErrorBox, html } from '../ui.js';
import { at, changed, field, isShowable, listOrNothing, moved, unused } from './document.js';
import { Chips, Choice, Text, faultOf, focusMoved } from './fields.js';
import { GroupCard } from './group.js';
import { useKeys } from './keys.js';
import { PeriodDetails, PeriodType, Zones } from './period.js';
import { Names } from './rules.js';
import { useSeen } from './seen.js';

const cadences = ['weekly', 'monthly', 'quarterly', 'yearly'];

const planFields = ['id', 'name', 'periodType', 'period', 'periodAnchor', 'anchor', 'timezone', 'weekStart', 'every', 'start', 'end', 'unmatchedEvents', 'groups'];
const policyFields = [...planFields.filter((name) => name !== 'unmatchedEvents'), 'owner', 'environment', 'route', 'reviewCadence', 'notes', 'approval', 'retry'];

const Period = ({ form }) => html`<fieldset><legend>Default period of the groups</legend>
  <div class="fields"><${PeriodType} form=${form} path=${[]} /><${PeriodDetails} form=${form} path=${[]} /></div>
</fieldset>`;

const PlanTop = ({ form }) => html`
  <div class="fields">
    <${Text} form=${form} path=${['name']} label="Name" />
    <${Choice} form=${form} path=${['unmatchedEvents']} label="Unmatched events" hint="Events that match no group. Denying them reveals typos." options=${[...(form.document.unmatchedEvents === undefined ? [['', 'denied (default)']] : []), ['deny', 'denied'], ['allow', 'allowed']]} />
  </div>
  <${Period} form=${form} />`;

/** Approval and retries of a policy: a record that is there only if something stands in it. */
function PolicyMore({ form }) {
  const { approval, retry } = form.document;
  const setApproval = (name, value) => form.change(['approval'], (all) => {
    const { [name]: _, ...others } = all ?? {};
    const next = value === undefined || value === '' ? others : { ...others, [name]: value };
    return Object.keys(next).length > 0 ? next : undefined;
  });
  return html`<details class="more"><summary>More: period, approvers, retries, notes</summary>
    <${Period} form=${form} />
    <fieldset><legend>Approval of calls past a limit</legend>
      <${Chips} label="Approvers" name="approval.approvers" values=${approval?.approvers ?? []} change=${(values) => setApproval('approvers', listOrNothing(values))} fault=${faultOf(form, ['approval', 'approvers'], true)} />
      <${Text} form=${{ ...form, set: (_, value) => setApproval('condition', value) }} path=${['approval', 'condition']} label="Condition" hint="Shown with each request." />
    </fieldset>
    <fieldset><legend>Retries of one action</legend>
      ${retry === undefined
        ? html`<button type="button" onClick=${() => form.set(['retry'], { maxAttempts: 3 })}>Limit retries</button>`
        : html`<div class="fields">
          <${Text} form=${form} path=${['retry', 'maxAttempts']} label="Most attempts" number hint="The first one included. Counted by metadata.action." />
          <${Text} form=${form} path=${['retry', 'backoff', 'initialMs']} label="First wait (ms)" number />
          ${retry.backoff !== undefined && html`<${Text} form=${form} path=${['retry', 'backoff', 'maxMs']} label="Longest wait (ms)" number />
          <${Text} form=${form} path=${['retry', 'backoff', 'factor']} label="Factor" number hint="Default 2." />`}
        </div>
        <${Chips} label="Errors that are not retried" name="retry.nonRetryable" values=${retry.nonRetryable ?? []} change=${(values) => form.set(['retry', 'nonRetryable'], listOrNothing(values))} fault=${faultOf(form, ['retry', 'nonRetryable'], true)} />
        <div class="row">${retry.backoff !== undefined && html`<button type="button" class="quiet-button" onClick=${() => form.set(['retry', 'backoff'], undefined)}>No waits</button>`}
          <button type="button" class="quiet-button danger" onClick=${() => form.set(['retry'], undefined)}>Remove the limit of retries</button></div>`}
    </fieldset>
    <div class="field"><label for="form-notes">Notes</label><textarea id="form-notes" name="notes" rows="3" value=${form.document.notes ?? ''} onInput=${(event) => form.set(['notes'], event.target.value || undefined)}></textarea>
      ${form.faults.notes && html`<p class="fault" role="alert">${form.faults.notes}</p>`}</div>
  </details>`;
}

const PolicyTop = ({ form }) => html`
  <div class="fields">
    <${Text} form=${form} path=${['name']} label="Name" />
    <${Text} form=${form} path=${['owner']} label="Owner" hint="The team or person who answers for it." />
    <${Text} form=${form} path=${['environment']} label="Environment" hint="Such as production." />
    <${Text} form=${form} path=${['route']} label="Route" hint="A model route, product or workflow." />
    <${Choice} form=${form} path=${['reviewCadence']} label="Review" options=${[['', 'no reviews'], ...cadences.map((cadence) => [cadence, cadence])]} />
  </div>
  <${PolicyMore} form=${form} />`;

/** Groups can be dragged by their handle; the buttons beside it do the same. */
function useDrag(move) {
  const from = useRef(null);
  const [over, setOver] = useState(null);
  const end = () => {
    from.current = null;
    setOver(null);
  };
  return {
    over,
    onStart: (place) => (event) => {
      from.current = place;
      event.dataTransfer.effectAllowed = 'move';
      event.dataTransfer.setDragImage(event.target.closest('.card'), 8, 8);
    },
    onOver: (place) => (event) => {
      if (from.current === null) return;
      event.preventDefault();
      if (over !== place) setOver(place);
    },
    onDrop: (place) => (event) => {
      if (from.current === null) return;
      event.preventDefault();
      if (from.current !== place) move(from.current, place);
      end();
    },
    onEnd: end,
  };
}

function Groups({ form, saved }) {
  const keys = useKeys();
  const area = useRef(null);
  const [said, say] = useState('');
  const [undo, setUndo] = useState(null);
  const stored = useRef(new Map());
  const groups = form.document.groups ?? [];
  const names = keys.of(groups.length);
  const label = (group, place) => field(group, 'label') || group.id || `Group ${place + 1}`;
  const taken = () => new Set([...form.seen.groups, ...groups.map((group) => group.id)]);
  /** The focus, once the page shows what was done. */
  const focus = (selector) => setTimeout(() => area.current?.querySelector(selector)?.focus());
  const move = (from, to) => {
    keys.move(from, to);
    form.change(['groups'], (all) => moved(all, from, to));
    focusMoved(area, `.cards > li:nth-child(${to + 1})`, to < from);
    say(`${label(groups[from], from)} is now ${to + 1} of ${groups.length}.`);
    setUndo(null);
  };
  const insert = (group, place, words) => {
    keys.insert(place);
    form.change(['groups'], (all) => [...(all ?? []).slice(0, place), group, ...(all ?? []).slice(place)]);
    say(words);
    setUndo(null);
    focus(`[name="groups[${place}].label"]`);
  };
  const copy = (place) => {
    const { label: _, name: __, ...rest } = groups[place];
    const id = unused(`${groups[place].id || 'group'}_copy`, taken());
    insert({ ...structuredClone(rest), id, label: `${label(groups[place], place)} (copy)` }, place + 1, `${label(groups[place], place)} is copied.`);
  };
  const remove = (place) => {
    const before = groups[place];
    keys.remove(place);
    form.change(['groups'], (all) => all.filter((_, other) => other !== place));
    say(`${label(before, place)} is removed.`);
    setUndo(() => () => insert(before, place, `${label(before, place)} is back.`));
    focus('.undo');
  };
  const add = () => insert({ id: unused('group', taken()), unit: 'count', quota: 100, matches: [{ event: '*' }] }, groups.length, 'A group is added.');
  const drag = useDrag(move);
  /** The id that a group has in the stored document, also while another one is typed. */
  const savedId = (key, id) => {
    if (!stored.current.has(key)) stored.current.set(key, saved.has(id) ? id : undefined);
    return stored.current.get(key);
  };
  return html`<section aria-label="Limit groups" ref=${area}><h2>Limit groups</h2>
    ${form.faults.groups && html`<p class="fault" role="alert">${form.faults.groups}</p>`}
    <ol class="cards">${groups.map((group, place) => html`<${GroupCard} key=${names[place]} form=${form} place=${place} count=${groups.length} saved=${savedId(names[place], group.id)} drag=${drag}
      actions=${{ move: (to) => move(place, to), copy: () => copy(place), remove: () => remove(place) }} />`)}</ol>
    ${groups.length === 0 && html`<p class="quiet">No groups yet: nothing is counted.</p>`}
    <div class="row"><button type="button" class="add-group" onClick=${add}>Add group</button>
      <span role="status">${said}</span>${undo && html`<button type="button" class="undo" onClick=${() => undo()}>Undo</button>`}</div>
  </section>`;
}

/**
 * @param {{kind: any, document: any, before: any, faults: Record<string, string>, change: (document: any) => void}} given `before`: the stored document
 */
export function DocumentForm({ kind, document, before, faults, change }) {
  const seen = useSeen();
  const latest = useRef(document);
  latest.current = document;
  if (!isShowable(document)) {
    return html`<${ErrorBox} error=${{ title: 'The form cannot show this JSON', message: 'It needs an object with a list of groups, whose match rules are lists of objects. Change it as JSON.' }} />`;
  }
  const update = (path, next) => {
    latest.current = changed(latest.current, path, next);
    change(latest.current);
  };
  const form = { kind, word: kind.title, document, faults, seen, get: (path) => at(document, path), set: (path, value) => update(path, () => value), change: update };
  const known = kind.path === 'plans' ? planFields : policyFields;
  const unseen = Object.keys(document).filter((name) => !known.includes(name));
  return html`<div class="document-form">
    ${kind.path === 'plans' ? html`<${PlanTop} form=${form} />` : html`<${PolicyTop} form=${form} />`}
    ${unseen.length > 0 && html`<p class="hint">Only in the JSON, and kept: ${unseen.map((name, place) => html`${place > 0 && ', '}<code>${name}</code>`)}.</p>`}
    <${Groups} form=${form} saved=${new Set((before?.groups ?? []).map((group) => group.id))} />
    <${Zones} /><${Names} seen=${seen} />
  </div>`;
}
