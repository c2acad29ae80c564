// Owners that have another quota than a limit group: one team, key, user or combination.

import { useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { scopeWords } from '../form/words.js';
import { Confirm, Dialog, ErrorBox, Field, Loading, More, Table, Time, amount, html, useDialog, usePages, useWrite } from '../ui.js';

const scopeOf = (group) => group.scope ?? ['user'];
const Owner = ({ scope }) => Object.entries(scope).map(([name, value]) => html`<div><span class="quiet">${name.replace('metadata.', '')}</span> <bdi class="name">${value}</bdi></div>`);
const words = (scope) => Object.values(scope).join(', ');

function SetLimit({ group, limit, close, done }) {
  const [scope, setScope] = useState(limit?.scope ?? (scopeOf(group).includes('app') ? { app: api.place.app } : {}));
  const [quota, setQuota] = useState(limit && limit.quota !== null ? String(limit.quota) : '');
  const [none, setNone] = useState(limit?.quota === null);
  const [until, setUntil] = useState(limit?.until ? limit.until.slice(0, 16) : '');
  const [note, setNote] = useState('');
  const { busy, error, write } = useWrite();
  const submit = async () => {
    const body = { scope, quota: none ? null : quota.trim(), until: until ? new Date(`${until}Z`).toISOString() : undefined, note: note.trim() || undefined };
    if ((await write('PUT', api.path('limits', group.id), body)) === null) return false;
    done();
    return true;
  };
  return html`<${Dialog} title=${`Limit of one owner: ${group.label || group.id}`} action="Save" busy=${busy} error=${error} submit=${submit} close=${close}>
    <p>Instead of ${group.quota === null ? 'no limit' : amount(Number(group.quota), group.unit)}, from the next call on. 0 denies all calls of this owner.</p>
    ${scopeOf(group).map((name) => html`<${Field} key=${name} label=${name}><input name=${`scope-${name}`} required autocomplete="off" spellcheck=${false} disabled=${Boolean(limit) || name === 'app'} value=${scope[name] ?? ''} onInput=${(event) => setScope({ ...scope, [name]: event.target.value })} /><//>`)}
    <${Field} label=${`Quota${group.unit === 'count' ? '' : ` (${group.unit})`}`}><input name="quota" inputmode="decimal" autocomplete="off" required=${!none} disabled=${none} value=${none ? '' : quota} onInput=${(event) => setQuota(event.target.value)} /><//>
    <label class="check"><input type="checkbox" name="none" checked=${none} onChange=${(event) => setNone(event.target.checked)} /> No limit</label>
    <${Field} label="Until (UTC)" hint="Empty: it does not end."><input type="datetime-local" name="until" value=${until} onInput=${(event) => setUntil(event.target.value)} /><//>
    <${Field} label="Note" hint="Stored with the limit and in the audit log."><input name="note" maxlength="1000" value=${note} onInput=${(event) => setNote(event.target.value)} /><//>
  <//>`;
}

function Remove({ group, limit, close, done }) {
  const run = async (write) => {
    const removed = await write('DELETE', api.path('limits', group.id), { scope: limit.scope });
    if (removed) done();
    return removed;
  };
  const about = html`<p>The quota of the limit group applies to <bdi>${words(limit.scope)}</bdi> again: ${group.quota === null ? 'no limit' : amount(Number(group.quota), group.unit)}.</p>`;
  return html`<${Confirm} title="Remove this limit?" action="Remove" danger note=${false} about=${about} run=${run} close=${close} />`;
}

function Group({ group }) {
  const pages = usePages('limits', { groupId: group.id });
  const dialog = useDialog();
  const may = api.may('support');
  const open = dialog.open;
  return html`<section class="owner-limits" data-limits=${group.id}>
    <div class="row"><h3><bdi>${group.label || group.id}</bdi></h3> <span class="quiet">one quota ${scopeWords(scopeOf(group))}</span>
      ${may && html`<button type="button" onClick=${() => dialog.show('set', null)}>Set limit of one owner</button>`}</div>
    <${ErrorBox} error=${pages.error} retry=${pages.reload} />
    ${pages.loading && pages.data.length === 0 ? html`<${Loading} what="limits" />` : pages.data.length === 0 && !pages.error
      ? html`<p class="quiet">Every owner has the quota of the group.</p>`
      : html`<${Table} label=${`Limits in ${group.id}`}>
        <thead><tr><th>Owner</th><th class="figure">Quota</th><th>Until</th><th>Note</th><td></td></tr></thead>
        <tbody>${pages.data.map((limit) => html`<tr key=${JSON.stringify(limit.scope)}>
          <td><${Owner} scope=${limit.scope} /></td>
          <td class="figure">${limit.quota === null ? 'no limit' : amount(limit.quota, limit.unit)}</td>
          <td><${Time} at=${limit.until} never="no end" /></td>
          <td>${limit.note && html`<bdi>${limit.note}</bdi>`}</td>
          <td class="end">${may && html`<div class="row"><button type="button" aria-label=${`Change the limit of ${words(limit.scope)}`} onClick=${() => dialog.show('set', limit)}>Change</button>
            <button type="button" class="danger" aria-label=${`Remove the limit of ${words(limit.scope)}`} onClick=${() => dialog.show('remove', limit)}>Remove</button></div>`}</td>
        </tr>`)}</tbody>
      <//>`}
    <${More} pages=${pages} />
    ${open?.name === 'set' && html`<${SetLimit} group=${group} limit=${open.about} close=${dialog.close} done=${pages.reload} />`}
    ${open?.name === 'remove' && html`<${Remove} group=${group} limit=${open.about} close=${dialog.close} done=${pages.reload} />`}
  </section>`;
}

/** The limits of owners in each limit group of a plan or policy. */
export function OwnerLimits({ document }) {
  // A balance has no quota: its owners have credits.
  const groups = document.groups.filter((group) => group.kind !== 'balance');
  return groups.length > 0 && html`<h2>Limits of single owners</h2>
    ${groups.map((group) => html`<${Group} key=${group.id} group=${group} />`)}`;
}
