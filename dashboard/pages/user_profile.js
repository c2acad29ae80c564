// A user's display name and tags: shown and searched, and nothing is decided by them.

import { useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Badge, Dialog, Field, faultsOf, html, useWrite } from '../ui.js';

export const Tags = ({ tags }) => (tags ?? []).map((tag) => html`<${Badge}><bdi>${tag}</bdi><//> `);

export const EditProfile = ({ user, close, done }) => {
  const [name, setName] = useState(user.name ?? '');
  const [tags, setTags] = useState((user.tags ?? []).join(', '));
  const { busy, error, write } = useWrite();
  const submit = async () => {
    const body = { name: name.trim() || undefined, tags: tags.split(',').map((tag) => tag.trim()).filter(Boolean) };
    if ((await write('PUT', api.path('users', user.userId), body)) === null) return false;
    done();
    return true;
  };
  const { faults, rest } = faultsOf(error, (field) => field === 'name' || field.startsWith('tags'));
  const tagFault = Object.entries(faults).find(([field]) => field.startsWith('tags'))?.[1];
  return html`<${Dialog} title="Name and tags" action="Save" busy=${busy} error=${rest} submit=${submit} close=${close}>
    <p>Shown beside <bdi class="name"><strong>${user.userId}</strong></bdi> and found by the search. Limits do not depend on them.</p>
    <${Field} label="Display name" fault=${faults.name}><input name="name" autocomplete="off" value=${name} onInput=${(event) => setName(event.target.value)} /><//>
    <${Field} label="Tags" hint="Separated by commas." fault=${tagFault}><input name="tags" autocomplete="off" value=${tags} onInput=${(event) => setTags(event.target.value)} /><//>
  <//>`;
};
