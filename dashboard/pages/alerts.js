import { Badge, Empty, Heading, Loaded, More, Table, Time, html, link, useFresh, usePages } from '../ui.js';
import { Scope } from './approvals.js';

const kinds = { 'limit.reached': 'bad', 'threshold.reached': 'warn', 'approval.requested': 'warn' };

export function Alerts() {
  const pages = usePages('alerts', {});
  useFresh(pages);
  const empty = html`<${Empty} title="Nothing has happened yet"><p>Crossed thresholds, approvals and moved subscriptions are told here.</p>
    <p>Reached limits and expired reservations are told only while one of the <a href=${link(['webhooks'])}>webhooks</a> is told of them.</p><//>`;
  return html`
    <${Heading} title="Alerts" />
    <${Loaded} of=${pages} what="alerts" empty=${empty}>
      <${Table} label="Alerts">
        <thead><tr><th>What</th><th>About</th><th>Told as</th><th>When</th></tr></thead>
        <tbody>${pages.data.map((alert) => html`<tr key=${alert.id}>
          <td><${Badge} kind=${kinds[alert.type] ?? ''}>${alert.type}<//></td>
          <td>${alert.data?.groupId && html`<code>${alert.data.groupId}</code>`}<${Scope} scope=${alert.data?.scope} /></td>
          <td><bdi>${alert.text}</bdi></td>
          <td><${Time} at=${alert.timestamp} /></td>
        </tr>`)}</tbody>
      <//>
      <${More} pages=${pages} />
    <//>`;
}
