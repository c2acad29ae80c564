import { useEffect, useState } from '../vendor/hooks.js';
import { Badge, Empty, Heading, Loaded, More, Name, Table, Time, html, keepFilter, link, usePages, useSettled } from '../ui.js';

export function Users({ query }) {
  const [typed, setTyped] = useState(query.search ?? '');
  const search = useSettled(typed);
  useEffect(() => keepFilter({ search }), [search]);
  const pages = usePages('users', { search });
  const empty = search
    ? html`<${Empty} title="No user begins with that"><p>Users are found by what their ids begin with, capitals and all. Put <a href=${link(['users', search])}><bdi>${search}</bdi></a> on a plan, if that is the whole id.</p><//>`
    : html`<${Empty} title="No users yet"><p>A user appears here with the first subscription or the first call. <a href=${link(['start'])}>Three steps to the first call</a></p><//>`;
  return html`
    <${Heading} title="Users" />
    <div class="filter">
      <input type="search" aria-label="Search users" placeholder="Search by the beginning of an id" data-search value=${typed}
        onInput=${(event) => setTyped(event.target.value)} />
    </div>
    <${Loaded} of=${pages} what="users" empty=${empty}>
      <${Table} label="Users">
        <thead><tr><th>User</th><th>Plan</th><th>Since</th><th>Ends</th><th>State</th></tr></thead>
        <tbody>${pages.data.map((user) => html`<tr key=${user.userId}>
          <td><${Name} text=${user.userId} href=${link(['users', user.userId])} /></td>
          <td>${user.subscription ? html`<a href=${link(['plans', user.subscription.planId])}>${user.subscription.planId}</a>` : html`<span class="quiet">none</span>`}</td>
          <td><${Time} at=${user.subscription?.startedAt} /></td>
          <td><${Time} at=${user.subscription?.endsAt} /></td>
          <td>${user.blocked ? html`<${Badge} kind="bad">blocked<//>` : 'active'}</td>
        </tr>`)}</tbody>
      <//>
      <${More} pages=${pages} />
    <//>`;
}
