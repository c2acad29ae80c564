// What a save would change, in words, and whom it would put over a limit.

import { Badge, html, plural } from '../ui.js';
import { quotaWords } from './words.js';

export function Change({ before, after }) {
  const text = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
  const has = (value) => value !== undefined && value !== null;
  return html`${has(before) && html`<del>${text(before)}</del>`}${has(before) && has(after) && ' → '}${has(after) && html`<ins>${text(after)}</ins>`}`;
}

/** Users whom a lowered quota would put over the limit. */
export const overLimit = (preview) => (preview?.overLimit ?? []).reduce((sum, over) => sum + over.users, 0);

export function Preview({ preview }) {
  if (preview.changes.length === 0) return html`<p class="quiet" role="status">Nothing would change.</p>`;
  return html`<div role="status">
    ${preview.changes.map((change) => html`<div key=${change.target}>
      <p><strong>${change.action} <code>${change.target}</code></strong></p>
      <ul class="changes">${change.fields.map((field) => html`<li><code>${field.path || 'everything'}</code>: <${Change} before=${field.before} after=${field.after} /></li>`)}</ul>
    </div>`)}
    ${preview.overLimit.map((over) => html`<p>${over.users > 0 ? html`<${Badge} kind="warn">${plural(over.users, 'user')} over the limit<//>` : 'No user would be over the limit:'} <code>${over.groupId}</code> goes from ${quotaWords({ quota: over.quotaBefore, unit: '' })} to ${quotaWords({ quota: over.quotaAfter, unit: '' })}.</p>`)}
    ${!preview.complete && html`<p class="quiet">There are too many users to check all of them.</p>`}
  </div>`;
}
