// How each limit group decides a call: it matches, or why not.

import { Counter } from '../counter.js';
import { UNNAMED } from '../rule_tester.js';
import { Badge, Marked, Time, amount, html, link } from '../ui.js';

function Origin({ group }) {
  if (group.planId === UNNAMED || group.policyId === UNNAMED) return html`<span class="quiet">this draft</span>`;
  if (group.planId) return html`<a href=${link(['plans', group.planId])}>plan ${group.planId}</a>`;
  if (group.policyId) return html`<a href=${link(['policies', group.policyId])}>policy ${group.policyId}</a>`;
  return null;
}

/** What the group counts of the call, and everything that keeps the call out of it. */
function Says({ group }) {
  const parts = [];
  const missing = group.missingScope ?? [];
  if (group.amount !== undefined) parts.push(html`counts <strong>${amount(group.amount, group.unit)}</strong>${group.rule !== undefined ? ` by rule ${group.rule + 1}` : ''}`);
  if (group.uncovered) parts.push('covers this event, but none of its rules matches');
  if (missing.length > 0) parts.push(html`${missing.map((name, at) => html`${at > 0 && ', '}<code>${name}</code>`)} ${missing.length === 1 ? 'is' : 'are'} missing${group.refuses ? '' : ', so this limit does not count the call'}`);
  if (group.error) parts.push(html`cannot measure the call: <code>${group.error.field}</code> ${group.error.message}`);
  if (group.tooLarge) parts.push('the call is larger than this limit allows per call');
  if (group.outsidePeriod) parts.push(html`its period is not running${group.opensAt ? html`; it begins <${Time} at=${group.opensAt} />` : ''}`);
  if (group.overLimit) parts.push(html`not enough left${group.limit === undefined ? '' : `: the limit is ${amount(group.limit, group.unit)}`}`);
  return parts.length === 0 ? null : html`<ul>${parts.map((part) => html`<li>${part}</li>`)}</ul>`;
}

const Rules = ({ rules }) => html`<ul>${rules.filter((rule) => !rule.matches).flatMap((rule) => rule.mismatches).map((mismatch) => html`<li><${Marked} text=${mismatch.message} /></li>`)}</ul>`;

function State({ group }) {
  if (group.refuses) return html`<${Badge} kind="bad">${group.matches ? 'matches, refuses' : 'refuses'}<//>`;
  if (group.observed) return html`<${Badge} kind="warn">only observes, would refuse<//>`;
  if (group.missingScope?.length) return html`<${Badge}>does not count<//>`;
  return group.matches ? html`<${Badge} kind="good">matches<//>` : html`<${Badge}>does not match<//>`;
}

const Group = ({ group }) => html`<section class="group" data-group=${group.groupId}>
  <div class="row"><${State} group=${group} /><bdi><strong>${group.label || group.groupId}</strong></bdi> <code class="quiet">${group.groupId}</code> <span class="quiet"><${Origin} group=${group} /></span></div>
  <${Says} group=${group} />
  ${!group.matches && html`<${Rules} rules=${group.rules} />`}
  ${group.counter && html`<${Counter} counter=${group.counter} />`}
  ${group.balance && html`<${Counter} counter=${group.balance} />`}
  ${group.grants?.length > 0 && html`<p class="quiet">${group.grants.map((grant) => html`<span class="part">${amount(grant.amount, group.unit)} granted${grant.endsAt ? html`, ends <${Time} at=${grant.endsAt} />` : ''}</span> `)}</p>`}
</section>`;

export function Groups({ groups }) {
  const parts = [
    ['Limits that match', groups.filter((group) => group.matches || group.uncovered)],
    ['Limits that do not match', groups.filter((group) => !group.matches && !group.uncovered)],
  ];
  return parts.map(([title, some]) => html`<h2>${title}</h2>
    ${some.length === 0 ? html`<p class="quiet">None.</p>` : some.map((group) => html`<${Group} key=${group.groupId} group=${group} />`)}`);
}
