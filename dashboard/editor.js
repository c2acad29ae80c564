// The editor of plans and policies: JSON, checked by the gateway as it is typed, with what a save would change.

import { useEffect, useState } from './vendor/hooks.js';
import * as api from './api.js';
import { By } from './by.js';
import { Delete } from './delete.js';
import { RuleTester, UNNAMED } from './rule_tester.js';
import { Whatif } from './whatif.js';
import { Badge, Confirm, ErrorBox, Field, Heading, Loaded, Loading, Table, Time, go, html, link, number, plural, useDialog, useLoad, useSettled, useWrite } from './ui.js';

const told = ['version', 'reviewed', 'reviewDueAt', 'reviewDue'];

/** What an editor shows of a document: without what only the gateway says. */
export const asText = (document) =>
  JSON.stringify(Object.fromEntries(Object.entries(document).filter(([name]) => !told.includes(name))), null, 2);

/** What a save would do, asked of the gateway whenever the typing pauses. */
function useCheck(kind, id, text, version) {
  const settled = useSettled(text, 300);
  const [state, setState] = useState({ of: null, preview: null, error: null });
  useEffect(() => {
    let left = false;
    const set = (state) => left || setState({ of: settled, ...state });
    const fault = parseFault(settled);
    if (fault) set({ preview: null, error: fault });
    else {
      api.send('PUT', `${api.path(kind.path, id || UNNAMED)}?dryRun=true`, settled, api.ifMatch(version)).then(
        (preview) => set({ preview, error: null }),
        (error) => set({ preview: null, error }),
      );
    }
    return () => {
      left = true;
    };
  }, [settled, id, version]);
  return { ...state, checking: state.of !== text };
}

function parseFault(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return { title: 'This is not JSON', message: error.message };
  }
}

export function Preview({ preview }) {
  if (preview.changes.length === 0) return html`<p class="quiet" role="status">Nothing would change.</p>`;
  return html`<div role="status">
    ${preview.changes.map((change) => html`<div key=${change.target}>
      <p><strong>${change.action} <code>${change.target}</code></strong></p>
      <ul>${change.fields.map((field) => html`<li><code>${field.path || 'everything'}</code>: <${Change} before=${field.before} after=${field.after} /></li>`)}</ul>
    </div>`)}
    ${preview.overLimit.map((over) => html`<p>${over.users > 0 ? html`<${Badge} kind="warn">${plural(over.users, 'user')} over the limit<//>` : 'Nobody would be over the limit:'} <code>${over.groupId}</code> goes from ${number(over.quotaBefore)} to ${number(over.quotaAfter)}.</p>`)}
    ${!preview.complete && html`<p class="quiet">There were too many users to look at all of them in time.</p>`}
  </div>`;
}

export function Change({ before, after }) {
  const text = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
  const has = (value) => value !== undefined && value !== null;
  return html`${has(before) && html`<del>${text(before)}</del>`}${has(before) && has(after) && ' → '}${has(after) && html`<ins>${text(after)}</ins>`}`;
}

export function Editor({ kind, id, document, done }) {
  const before = document ? asText(document) : null;
  const [name, setName] = useState(id ?? '');
  const [text, setText] = useState(before ?? kind.example());
  const check = useCheck(kind, name, text, id && document.version);
  const { busy, error, write } = useWrite();
  const admin = api.may('admin');
  const readable = parseFault(text) === null;
  const ready = name && !check.checking && !check.error && check.preview?.changes.length > 0;
  const save = async (event) => {
    event.preventDefault();
    const saved = await write('PUT', api.path(kind.path, name), JSON.parse(text), api.ifMatch(id && document.version));
    if (saved) done(name, saved);
  };
  return html`<form onSubmit=${save}>
    ${!id && html`<${Field} label="Id" hint="Letters, digits, _ and -. It stays for ever."><input name="id" required pattern="[A-Za-z0-9_\\-]{1,64}" value=${name} onInput=${(event) => setName(event.target.value)} /><//>`}
    <${Field} label=${`${kind.Title} as JSON`}><textarea name="document" class="code" spellcheck=${false} value=${text} readonly=${!admin} onInput=${(event) => setText(event.target.value)} /><//>
    ${check.error && html`<${ErrorBox} error=${check.error} />`}
    ${!check.error && check.preview && (check.preview.changes.length > 0 || text !== before) && html`<h2>A save would</h2>${name ? html`<${Preview} preview=${check.preview} />` : html`<p role="status">create it under the id that you give it. The document itself is in order.</p>`}`}
    <${ErrorBox} error=${error} />
    <div class="row">
      ${admin && html`<button type="submit" class="primary" disabled=${busy || !ready}>${busy ? 'One moment…' : 'Save'}</button>`}
      ${before !== null && text !== before && html`<button type="button" onClick=${() => setText(before)}>Undo all</button>`}
      ${check.checking && html`<span class="quiet">Checking…</span>`}
    </div>
  </form>
  <${RuleTester} kind=${kind} id=${name} text=${text} readable=${readable} />
  ${admin && html`<${Whatif} kind=${kind} id=${name} text=${text} readable=${readable} exists=${document?.version !== undefined && id !== undefined} />`}`;
}

const period = (group, document) => group.periodType ?? group.period ?? document.periodType ?? document.period ?? 'monthly';

export const Groups = ({ document }) => html`<${Table} label="Limit groups">
  <thead><tr><th>Group</th><th class="figure">Quota</th><th>Period</th><th>Counts</th><th>At the limit</th></tr></thead>
  <tbody>${document.groups.map((group) => html`<tr key=${group.id}>
    <td><bdi>${group.label ?? group.id}</bdi> <code class="quiet">${group.id}</code></td>
    <td class="figure">${group.quota === null || group.quota === undefined ? 'without limit' : number(Number(group.quota))}${group.unit === 'count' ? '' : ` ${group.unit}`}</td>
    <td>${period(group, document)}${group.scope && group.scope.join() !== 'user' ? html` <span class="quiet">per ${group.scope.join(' and ')}</span>` : ''}</td>
    <td>${group.matches.map((rule) => html`<div><code>${rule.event}</code></div>`)}</td>
    <td>${{ soft: 'goes on', approval: 'asks for approval' }[group.enforcement] ?? 'denies'}</td>
  </tr>`)}</tbody>
<//>`;

/** Says so of the app's default plan. */
function DefaultPlan({ id }) {
  const settings = useLoad((signal) => api.get('app', signal), [api.place.app]);
  if (settings.data?.defaultPlanId !== id) return null;
  return html`<p><${Badge} kind="good">default plan<//> of users without a subscription (<a href=${link(['app'])}>app settings</a>)</p>`;
}

/** One plan or policy: its groups, the editor, its versions, and what can be done with it. */
export function DocumentPage({ kind, id, extra }) {
  const loaded = useLoad((signal) => api.get(api.path(kind.path, id), signal), [id, api.place.app]);
  const versions = useLoad((signal) => api.get(`${api.path(kind.path, id)}/versions`, signal), [id, loaded.data?.version]);
  const dialog = useDialog();
  const document = loaded.data;
  const admin = api.may('admin');
  const saved = () => {
    loaded.reload();
    versions.reload();
  };
  return html`
    <${Heading} name=${id}>
      <a class="button" href=${link(['explain'])}>Test a call</a>
      ${document && admin && html`
        ${extra?.({ document, reload: saved })}
        <button type="button" onClick=${() => go([kind.path, 'new'], { from: id })}>Duplicate</button>
        <button type="button" class="danger" onClick=${() => dialog.show('delete')}>Delete</button>`}
    <//>
    <${Loaded} of=${loaded} what=${kind.title}>${() => html`
      ${kind.facts ? kind.facts(document) : html`<${DefaultPlan} id=${id} />`}
      <h2>Limit groups</h2>
      <${Groups} document=${document} />
      <h2>${admin ? 'Edit' : 'Document'}</h2>
      <${Editor} key=${document.version} kind=${kind} id=${id} document=${document} done=${saved} />
      <h2>Versions</h2>
      <${Loaded} of=${versions} what="versions">${() => html`<${Versions} list=${versions.data.data} current=${document.version} back=${admin ? (version) => dialog.show('rollback', version) : null} />`}<//>`}
    <//>
    ${dialog.open?.name === 'rollback' && html`<${Rollback} kind=${kind} id=${id} document=${document} version=${dialog.open.about} close=${dialog.close} done=${saved} />`}
    ${dialog.open?.name === 'delete' && html`<${Delete} kind=${kind} id=${id} document=${document} close=${dialog.close} />`}`;
}

const Versions = ({ list, current, back }) => html`<${Table} label="Versions">
  <thead><tr><th>Version</th><th>Saved</th><th>By</th><td></td></tr></thead>
  <tbody>${list.map((version) => html`<tr key=${version.version}>
    <td><code>${version.version}</code> ${version.version === current && html`<${Badge} kind="good">current<//>`}</td>
    <td><${Time} at=${version.createdAt} /></td>
    <td><${By} id=${version.createdBy} /></td>
    <td class="end">${back && version.version !== current && html`<button type="button" onClick=${() => back(version)}>Roll back to this</button>`}</td>
  </tr>`)}</tbody>
<//>`;

function Rollback({ kind, id, document, version, close, done }) {
  const text = asText(version.plan ?? version.policy);
  const check = useCheck(kind, id, text, document.version);
  const run = async (write) => {
    const answer = await write('POST', `${api.path(kind.path, id)}/rollback`, { version: version.version }, api.ifMatch(document.version));
    if (answer) done();
    return answer;
  };
  const about = html`<p>The content of version <code>${version.version}</code> becomes a new version and holds from the next call on. It would</p>
    ${check.preview ? html`<${Preview} preview=${check.preview} />` : check.error ? html`<${ErrorBox} error=${check.error} />` : html`<${Loading} what="what would change" />`}`;
  return html`<${Confirm} title="Roll back?" about=${about} action="Roll back" note=${false} run=${run} close=${close} />`;
}

/** A document that does not exist yet; `query.from` names one to begin with. */
export function NewDocument({ kind, query }) {
  const from = useLoad((signal) => (query.from ? api.get(api.path(kind.path, query.from), signal) : Promise.resolve({})), [query.from]);
  const start = () => {
    if (!query.from) return undefined;
    const { id, ...rest } = from.data;
    // A group's id is unique within all plans and policies unless unit and scope agree.
    return rest;
  };
  return html`
    <${Heading} title=${`New ${kind.title}`} />
    <${Loaded} of=${from} what=${kind.title}>${() => html`<${Editor} kind=${kind} document=${start()} done=${(id) => go([kind.path, id])} />`}<//>`;
}

export const toNew = (kind) => html`<a class="button" href=${link([kind.path, 'new'])}>New ${kind.title}</a>`;
