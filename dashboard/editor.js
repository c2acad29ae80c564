// The editor of plans and policies: a form and its JSON, always in step, checked by the gateway as they are typed, with what a
// save would change. What is not saved yet is stored by the browser.

import { useRef, useState } from './vendor/hooks.js';
import * as api from './api.js';
import { By } from './by.js';
import { Delete } from './delete.js';
import { dropDraft, keepDraft, readDraft } from './drafts.js';
import { bodyOf, dryRun, jumpTo, parseFault, useCheck } from './form/check.js';
import { field } from './form/document.js';
import { DocumentForm } from './form/document_form.js';
import { Preview, overLimit } from './form/preview.js';
import { limitWords, resultWords, ruleWords } from './form/words.js';
import { RuleTester } from './rule_tester.js';
import { Whatif } from './whatif.js';
import { Badge, Confirm, Empty, ErrorBox, Field, Heading, Loaded, Loading, Table, Time, faultsOf, go, html, link, plural, useDialog, useLoad, useWrite } from './ui.js';

const readOnly = ['version', 'reviewed', 'reviewDueAt', 'reviewDue'];

/** What an editor shows of a document: without what only the gateway says. */
export const asText = (document) =>
  JSON.stringify(Object.fromEntries(Object.entries(document).filter(([name]) => !readOnly.includes(name))), null, 2);

/** The view that was chosen last, for the next document. */
let lastView = 'form';

/** What is typed, kept by the browser until it is saved or discarded. */
function useDraft(place, base, id, version) {
  const begin = () => readDraft(place) ?? { text: base, id, version, at: '' };
  const [draft, setDraft] = useState(begin);
  const set = (changed) => setDraft((draft) => {
    const next = { ...draft, ...changed, at: new Date().toISOString() };
    if (next.text === base && next.id === id) dropDraft(place);
    else keepDraft(place, next);
    return next;
  });
  const discard = () => {
    dropDraft(place);
    setDraft({ text: base, id, version, at: '' });
  };
  return { draft, set, discard };
}

/** What the API has against the draft, each with the way to its field. */
function Faults({ error, jump }) {
  const faults = error.errors ?? [];
  if (faults.length === 0) return html`<${ErrorBox} error=${error} />`;
  return html`<div class="error"><strong role="status">${faults.length === 1 ? 'One field needs' : `${plural(faults.length, 'field')} need`} attention</strong>
    <ul>${faults.map((fault) => html`<li key=${fault.field}><button type="button" class="link" onClick=${() => jump(fault.field)}><code>${fault.field}</code></button> ${fault.message}</li>`)}</ul></div>`;
}

/** What is known of a draft before it is saved. */
function Consequences({ check, name, changed, jump }) {
  if (check.error) return html`<${Faults} error=${check.error} jump=${jump} />`;
  if (!check.preview || !changed) return null;
  return html`<section><h2>Effect of a save</h2>${name ? html`<${Preview} preview=${check.preview} />` : html`<p role="status">The draft has no faults. Enter an ID to save it.</p>`}</section>`;
}

/** Unsaved changes of an earlier visit, or of a version that somebody has replaced since. */
function Kept({ at, resumed, stale, keep, discard }) {
  if (!stale && !resumed) return null;
  return html`<div class="notice" role="status">
    <p>${stale ? 'Somebody saved another version after you began. Your changes are still here; a save would replace that version.' : html`These are your unsaved changes from <${Time} at=${at} real />.`}</p>
    <div class="row">${stale && html`<button type="button" onClick=${keep}>Keep my changes</button>`}<button type="button" onClick=${discard}>Discard them</button></div>
  </div>`;
}

/**
 * @param {{kind: any, id?: string, from?: string, document: any, done: (id: string, saved?: any) => void}} given `from`: what a new document is a copy of
 */
export function Editor({ kind, id, from, document, done }) {
  const base = document ? asText(document) : kind.example();
  const place = id ? `${kind.path}/${id}` : `${kind.path}/new ${from ?? ''}`;
  const version = (id && document.version) ?? null;
  const { draft, set, discard } = useDraft(place, base, id ?? '', version);
  const [before] = useState(draft.at);
  const [view, setView] = useState(lastView);
  const [round, setRound] = useState(0);
  const [asked, setAsked] = useState('');
  const form = useRef(null);
  const { text } = draft;
  const readable = parseFault(text) === null;
  // A pasted document may bring its id.
  const name = draft.id || (!id && readable && typeof JSON.parse(text)?.id === 'string' ? JSON.parse(text).id : '');
  const check = useCheck({ kind, id: name, text, version });
  const { busy, error, write } = useWrite();
  const { faults } = faultsOf(error ?? check.error, () => true);
  const changed = text !== base || !document || !id;
  const stale = id !== undefined && draft.version !== version;
  const taken = !id && name !== '' && check.preview?.changes.some((change) => change.action !== 'create');
  const useless = !check.checking && (check.error || check.preview?.changes.length === 0);
  const show = (chosen) => {
    lastView = chosen;
    setView(chosen);
  };
  const jump = (field) => jumpTo(form.current, field);
  const start = () => {
    discard();
    setRound(round + 1);
  };
  const save = async (event) => {
    event.preventDefault();
    if (busy || stale || taken) return undefined;
    const found = check.checking ? await dryRun(kind, name, text, version) : check;
    if (check.checking) check.found(found);
    if (found.error) return jump(found.error.errors?.[0]?.field ?? '');
    // Whom it puts over a limit is seen before it is done.
    if (check.checking && overLimit(found.preview) > 0) return setAsked(text);
    const saved = await write('PUT', api.path(kind.path, name), JSON.parse(bodyOf(text, name, version)), api.ifMatch(version));
    if (!saved) return undefined;
    dropDraft(place);
    return done(name, saved);
  };
  const onKeyDown = (event) => {
    if (event.key !== 's' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.current.requestSubmit();
  };
  return html`<div class="workbench">
    <form id="edit" ref=${form} onSubmit=${save} onKeyDown=${onKeyDown}>
      <${Kept} at=${draft.at} resumed=${before !== '' && draft.at === before && changed} stale=${stale} keep=${() => set({ version })} discard=${start} />
      ${!id && html`<${Field} label="ID" hint="Letters, digits, _ and -. It cannot be changed later." fault=${taken ? `Another ${kind.title} has this ID.` : undefined}><input name="id" required pattern="[A-Za-z0-9_\\-]{1,64}" value=${name} onInput=${(event) => set({ id: event.target.value })} /><//>`}
      <div class="views row" role="group" aria-label="Edit as">
        <button type="button" aria-pressed=${view === 'form'} onClick=${() => show('form')}>Form</button>
        <button type="button" aria-pressed=${view === 'json'} onClick=${() => show('json')}>JSON</button>
      </div>
      ${view === 'json'
        ? html`<${Field} label=${`${kind.Title} as JSON`}><textarea name="document" class="code" spellcheck=${false} value=${text} onInput=${(event) => set({ text: event.target.value })} /><//>`
        : readable
          ? html`<${DocumentForm} key=${round} kind=${kind} document=${JSON.parse(text)} before=${id ? document : null} faults=${faults} change=${(next) => set({ text: JSON.stringify(next, null, 2) })} />`
          : html`<p>The JSON cannot be read, so the form has nothing to show. <button type="button" onClick=${() => show('json')}>Fix the JSON</button></p>`}
    </form>
    <aside aria-label="Save and try">
      <${Consequences} check=${check} name=${name} changed=${changed} jump=${jump} />
      <${ErrorBox} error=${error} />
      <div class="savebar row">
        <button type="submit" form="edit" class="primary" disabled=${busy || stale || taken || useless}>${busy ? 'Saving…' : 'Save'}</button>
        ${text !== base && html`<button type="button" onClick=${start}>Undo all</button>`}
        <span class="quiet" role="status">${check.checking ? 'Checking…' : asked === text && overLimit(check.preview) > 0 ? 'See what this changes, then save.' : changed && text !== base ? 'Unsaved changes, kept in this browser.' : ''}</span>
      </div>
      <${RuleTester} kind=${kind} id=${name} text=${text} readable=${readable} />
      <${Whatif} kind=${kind} id=${name} text=${text} readable=${readable} exists=${version !== null} />
    </aside>
  </div>`;
}

/** For those who may look at it and not change it. */
const Reading = ({ kind, id, document }) => html`
  <h2>Limit groups</h2>
  <${Groups} document=${document} />
  <${RuleTester} kind=${kind} id=${id} text=${asText(document)} readable />
  <details><summary>The ${kind.title} as JSON</summary><pre>${asText(document)}</pre></details>`;

export const Groups = ({ document }) => html`<${Table} label="Limit groups">
  <thead><tr><th>Group</th><th>Limit</th><th>Counts</th><th>At the limit</th></tr></thead>
  <tbody>${document.groups.map((group) => html`<tr key=${group.id}>
    <td><bdi>${field(group, 'label') ?? group.id}</bdi> <code class="quiet">${group.id}</code></td>
    <td>${limitWords(group, document)}</td>
    <td>${(field(group, 'matches') ?? []).map((rule) => html`<div><bdi>${ruleWords(rule)}</bdi></div>`)}</td>
    <td>${resultWords(group)}</td>
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
      ${admin ? html`<${Editor} key=${document.version} kind=${kind} id=${id} document=${document} done=${saved} />` : html`<${Reading} kind=${kind} id=${id} document=${document} />`}
      ${kind.below?.(document)}
      <h2>Versions</h2>
      <${Loaded} of=${versions} what="versions">${() => html`<${Versions} list=${versions.data.data} current=${document.version} back=${admin ? (version) => dialog.show('rollback', version) : null} />`}<//>`}
    <//>
    ${dialog.open?.name === 'rollback' && html`<${Rollback} kind=${kind} id=${id} document=${document} version=${dialog.open.about} close=${dialog.close} done=${saved} />`}
    ${dialog.open?.name === 'delete' && html`<${Delete} kind=${kind} id=${id} document=${document} close=${dialog.close} />`}`;
}

/** So many versions are stored at least; of more, the oldest may be gone. */
const KEPT = 100;

const Versions = ({ list, current, back }) => html`<${Table} label="Versions">
  <thead><tr><th>Version</th><th>Saved</th><th>By</th><td></td></tr></thead>
  <tbody>${list.map((version, place) => html`<tr key=${version.version}>
    <td><span title=${`Version ${version.version}`}>v${list.length - place}</span> ${version.version === current && html`<${Badge} kind="good">current<//>`}</td>
    <td><${Time} at=${version.createdAt} real /></td>
    <td><${By} id=${version.createdBy} /></td>
    <td class="end">${back && version.version !== current && html`<button type="button" onClick=${() => back({ ...version, name: `v${list.length - place}` })}>Roll back to this</button>`}</td>
  </tr>`)}</tbody>
<//>
${list.length >= KEPT && html`<p class="quiet">Numbers count from the oldest version that is still stored.</p>`}`;

function Rollback({ kind, id, document, version, close, done }) {
  const text = asText(version.plan ?? version.policy);
  const check = useCheck({ kind, id, text, version: document.version });
  const run = async (write) => {
    const answer = await write('POST', `${api.path(kind.path, id)}/rollback`, { version: version.version }, api.ifMatch(document.version));
    if (answer) done();
    return answer;
  };
  const about = html`<p>The content of ${version.name} from <${Time} at=${version.createdAt} real /> becomes a new version and applies from the next call on. It changes:</p>
    ${check.preview ? html`<${Preview} preview=${check.preview} />` : check.error ? html`<${ErrorBox} error=${check.error} />` : html`<${Loading} what="what would change" />`}`;
  return html`<${Confirm} title="Roll back?" about=${about} action="Roll back" note=${false} run=${run} close=${close} />`;
}

/** A document that does not exist yet; `query.from` names one to copy. */
export function NewDocument({ kind, query }) {
  if (!api.may('admin')) return html`<${Heading} title=${`New ${kind.title}`} /><${Empty} title="Only admins can do this"><p>The role of your key is ${api.place.session.role}.</p><//>`;
  return html`<${Fresh} kind=${kind} query=${query} />`;
}

function Fresh({ kind, query }) {
  const from = useLoad((signal) => (query.from ? api.get(api.path(kind.path, query.from), signal) : Promise.resolve({})), [query.from]);
  const start = () => {
    if (!query.from) return undefined;
    const { id, ...rest } = from.data;
    // A group's id is unique within all plans and policies unless unit and scope agree.
    return rest;
  };
  return html`
    <${Heading} title=${`New ${kind.title}`} />
    <${Loaded} of=${from} what=${kind.title}>${() => html`<${Editor} kind=${kind} from=${query.from} document=${start()} done=${(id) => go([kind.path, id])} />`}<//>`;
}

export const toNew = (kind) => html`<a class="button primary" href=${link([kind.path, 'new'])}>New ${kind.title}</a>`;
