import { useEffect, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { Tags } from './user_profile.js';
import { Badge, Elsewhere, Empty, Heading, Loaded, Loading, More, Name, Table, Time, go, html, keepFilter, link, usePages, useSettled } from '../ui.js';

/** A page of a search looks at 50,000 ids. Pages without a hit are passed over, so many in all. */
const MOST_PAGES = 40;

export function Users({ query }) {
  const [typed, setTyped] = useState(query.search ?? '');
  const search = useSettled(typed);
  const [passed, setPassed] = useState(0);
  const [wanted, setWanted] = useState(false);
  useEffect(() => {
    keepFilter({ search });
    setPassed(0);
  }, [search]);
  const pages = usePages('users', { contains: search });
  const looking = pages.current && pages.data.length === 0 && pages.next !== null && !pages.error && passed < MOST_PAGES;
  useEffect(() => {
    if (!looking) return;
    setPassed(passed + 1);
    pages.loadMore();
  }, [looking, pages.next]);
  // Enter opens the only hit, or the user whose whole id was typed.
  const settled = typed === search && pages.current && !looking;
  useEffect(() => {
    if (!wanted || !settled) return;
    setWanted(false);
    const exact = pages.data.find((user) => user.userId === search);
    const only = pages.data.length === 1 && pages.next === null ? pages.data[0] : null;
    if (exact ?? only) go(['users', (exact ?? only).userId]);
  }, [wanted, settled]);
  const empty = search
    ? html`<${Empty} title=${`No user found in ${api.placeWords()}`}><p>${pages.next ? 'There are too many users to search all at once. Enter the beginning of the ID, or continue with "Show more".' : html`If this is a whole user ID, you can put <a href=${link(['users', search])}><bdi>${search}</bdi></a> on a plan.`}</p><${Elsewhere} /><//>`
    : html`<${Empty} title=${`No users in ${api.placeWords()} yet`}><p>This page lists users with a subscription or a call. ${api.may('support') ? 'Enter a user ID above to put that user on a plan, or take' : 'Take'} the <a href=${link(['start'])}>three steps to the first call</a>.</p><${Elsewhere} /><//>`;
  return html`
    <${Heading} title="Users" />
    <div class="filter">
      <input type="search" aria-label="Search users" placeholder="Search by any part of ID, name or tag" data-search value=${typed}
        onInput=${(event) => setTyped(event.target.value)} onKeyDown=${(event) => setWanted(event.key === 'Enter' && typed !== '')} />
    </div>
    ${looking ? html`<${Loading} what="more users" />` : html`<${Loaded} of=${pages} what="users" empty=${empty}>
      <${Table} label="Users" compact>
        <thead><tr><th>User</th><th>Plan</th><th class="roomy">Since</th><th class="roomy">Ends</th><th>State</th></tr></thead>
        <tbody>${pages.data.map((user) => html`<tr key=${user.userId}>
          <td><${Name} text=${user.userId} href=${link(['users', user.userId])} />${(user.name || user.tags) && html`<div class="quiet"><bdi>${user.name}</bdi> <${Tags} tags=${user.tags} /></div>`}</td>
          <td>${user.subscription ? html`<a href=${link(['plans', user.subscription.planId])}>${user.subscription.planId}</a>` : html`<span class="quiet">none</span>`}</td>
          <td class="roomy"><${Time} at=${user.subscription?.startedAt} /></td>
          <td class="roomy"><${Time} at=${user.subscription?.endsAt} /></td>
          <td>${user.blocked ? html`<${Badge} kind="bad">blocked<//>` : 'active'}</td>
        </tr>`)}</tbody>
      <//>
    <//>
    <${More} pages=${pages} />`}`;
}
