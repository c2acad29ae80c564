// Credits of a user's balances: prepaid amounts, until they are used up or expire.

import { useEffect, useRef, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { By } from '../by.js';
import { Badge, Confirm, Dialog, ErrorBox, Field, Loading, More, Table, Time, amount, figure, html, unitName, useDialog, usePages, useWrite } from '../ui.js';

const label = (counter) => counter.label || counter.groupId;
const kinds = { live: 'good', used: '', expired: 'warn', voided: 'warn' };

/** Whose credits, as the list takes it. */
const ownerQuery = (scope) => Object.fromEntries(Object.entries(scope).filter(([name]) => name !== 'app').map(([name, value]) => [name === 'user' ? 'userId' : name, value]));

function AddCredit({ counter, close, done }) {
  const [given, setGiven] = useState('');
  const [expires, setExpires] = useState('');
  const [source, setSource] = useState('');
  const [note, setNote] = useState('');
  const { busy, error, write } = useWrite();
  const submit = async () => {
    const body = {
      groupId: counter.groupId,
      scope: counter.scope,
      amount: given.trim(),
      expiresAt: expires ? new Date(`${expires}Z`).toISOString() : undefined,
      sourceId: source.trim() || undefined,
      note: note.trim() || undefined,
    };
    if ((await write('POST', 'credits', body)) === null) return false;
    done();
    return true;
  };
  const shared = Object.keys(counter.scope).some((name) => name !== 'user');
  const then = Number(given) > 0 ? amount(counter.remaining + Number(given), counter.unit) : null;
  return html`<${Dialog} title=${`Add credits: ${label(counter)}`} action="Add credits" busy=${busy} error=${error} submit=${submit} close=${close}>
    <p>A prepaid amount${shared ? ', for everyone who shares this balance' : ''}. It can be used from the next call on.</p>
    <${Field} label=${`Amount${unitName(counter.unit)}`}><input name="amount" inputmode="decimal" required autocomplete="off" value=${given} onInput=${(event) => setGiven(event.target.value)} /><//>
    <${Field} label="Expires (UTC)" hint="What remains then lapses. Empty: it does not expire."><input type="datetime-local" name="expires" value=${expires} onInput=${(event) => setExpires(event.target.value)} /><//>
    <${Field} label="Source" hint="The ID of a payment, for example. It adds credits once."><input name="source" maxlength="256" autocomplete="off" spellcheck=${false} value=${source} onInput=${(event) => setSource(event.target.value)} /><//>
    <${Field} label="Note" hint="Stored with the credit and in the audit log."><input name="note" maxlength="1000" value=${note} onInput=${(event) => setNote(event.target.value)} /><//>
    <p role="status">${then ? `${then} will remain.` : ''}</p>
  <//>`;
}

function VoidCredit({ credit, close, done }) {
  const run = async (write, note) => {
    const voided = await write('POST', api.path('credits', credit.id, 'void'), { note });
    if (voided) done();
    return voided;
  };
  const about = html`<p>This removes ${amount(credit.remaining, credit.unit)}, which remain of this credit.${credit.held > 0 ? ` Open reservations hold ${amount(credit.held, credit.unit)} more: they can still be committed, and what they return is removed too.` : ''} Used amounts stay.</p>`;
  return html`<${Confirm} title="Void this credit?" about=${about} action="Void credit" danger hint="Stored in the ledger and in the audit log." run=${run} close=${close} />`;
}

/** What became of a credit's amount, as a bar. */
function CreditBar({ credit }) {
  const text = (value) => figure(value, credit.unit);
  const parts = [`${text(credit.remaining)} of ${text(credit.amount)} left`];
  for (const name of ['held', 'used', 'lapsed', 'voided']) if (credit[name] > 0) parts.push(`${text(credit[name])} ${name}`);
  const share = (value) => ({ width: `${(value / credit.amount) * 100}%` });
  return html`<div class="meter" role="img" aria-label=${parts.join(' · ')}>
      <div class="bar"><i class="used" style=${share(credit.used)}></i><i class="held" style=${share(credit.held)}></i><i class="blocked" style=${share(credit.lapsed + credit.voided)}></i></div>
    </div>
    <div class="about">${parts.map((part, at) => html`${at > 0 && ' · '}<span class="part">${part}</span>`)}</div>`;
}

/** Calls `run` when `state` is another one than before. */
function useChange(state, run) {
  const seen = useRef(state);
  useEffect(() => {
    if (seen.current === state) return;
    seen.current = state;
    run();
  }, [state]);
}

function Balance({ counter, support, done }) {
  const pages = usePages('credits', { groupId: counter.groupId, ...ownerQuery(counter.scope), limit: 20 });
  useChange([counter.remaining, counter.held, counter.used].join(' '), pages.reload);
  const dialog = useDialog();
  const changed = () => {
    pages.reload();
    done();
  };
  const { open, close, show } = dialog;
  return html`<section class="credits" data-credits=${counter.groupId}>
    <div class="row"><h3><bdi>${label(counter)}</bdi></h3> <span class="quiet">${amount(counter.remaining, counter.unit)} left</span>
      ${support && html`<button type="button" class="small" aria-label=${`Add credits to ${label(counter)}`} onClick=${() => show('add')}>Add credits</button>`}</div>
    <${ErrorBox} error=${pages.error} retry=${pages.reload} />
    ${pages.loading && pages.data.length === 0 ? html`<${Loading} what="credits" />` : pages.data.length === 0 && !pages.error
      ? html`<p class="quiet">No credits yet.</p>`
      : html`<${Table} label=${`Credits of ${label(counter)}`}>
        <thead><tr><th>State</th><th>Amount</th><th>Expires</th><th>Source</th><th>Note</th><th class="spacious">Created</th><td></td></tr></thead>
        <tbody>${pages.data.map((credit) => html`<tr key=${credit.id}>
          <td><${Badge} kind=${kinds[credit.status] ?? ''}>${credit.status}<//></td>
          <td><${CreditBar} credit=${credit} /></td>
          <td><${Time} at=${credit.expiresAt} never="never" /></td>
          <td>${credit.sourceId && html`<bdi class="name">${credit.sourceId}</bdi>`}</td>
          <td>${credit.note && html`<bdi>${credit.note}</bdi>`}</td>
          <td class="spacious"><${Time} at=${credit.createdAt} /> <span class="quiet">by <${By} id=${credit.createdBy} /></span></td>
          <td class="end">${support && credit.status === 'live' && html`<button type="button" class="small danger" aria-label=${`Void the credit of ${amount(credit.amount, credit.unit)}`} onClick=${() => show('void', credit)}>Void</button>`}</td>
        </tr>`)}</tbody>
      <//>`}
    <${More} pages=${pages} />
    ${open?.name === 'add' && html`<${AddCredit} counter=${counter} close=${close} done=${changed} />`}
    ${open?.name === 'void' && html`<${VoidCredit} credit=${open.about} close=${close} done=${changed} />`}
  </section>`;
}

/** The credits of each balance among a user's counters. `done` loads the counters again after a change. */
export function Credits({ counters, support, done }) {
  const balances = counters.filter((counter) => counter.kind === 'balance');
  return balances.length > 0 && html`<h2>Credits</h2>
    ${balances.map((counter) => html`<${Balance} key=${counter.groupId} counter=${counter} support=${support} done=${done} />`)}`;
}
