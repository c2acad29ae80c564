// "This event with this metadata: which groups match, and why not the others?", asked of a draft as it is typed.

import { useEffect, useState } from './vendor/hooks.js';
import * as api from './api.js';
import { ErrorBox, Field, Loading, faultsOf, html, pairs, useSettled } from './ui.js';
import { Groups } from './pages/explain_groups.js';

/** What a draft is called as long as it has no id. */
export const UNNAMED = 'without-an-id';

const fields = ['event', 'quantity', 'metadata'];

/**
 * `readable`: the text is JSON. While it is not, the last result stays.
 * @param {{kind: {path: string}, id: string, text: string, readable: boolean}} given
 */
export function RuleTester({ kind, id, text, readable }) {
  const [typed, setTyped] = useState({ event: '', quantity: '', metadata: '' });
  const asked = useSettled(JSON.stringify([id, text, typed]), 300);
  const [state, setState] = useState({ groups: null, error: null });
  useEffect(() => {
    const stop = new AbortController();
    if (!readable) return undefined;
    if (!typed.event) setState({ groups: null, error: null });
    else {
      const draft = { ...JSON.parse(text), id: id || UNNAMED };
      const call = { event: typed.event, quantity: typed.quantity || undefined, metadata: pairs(typed.metadata) };
      api.send('POST', 'explain', { [kind.path === 'plans' ? 'plan' : 'policy']: draft, ...call }).then(
        ({ groups }) => stop.signal.aborted || setState({ groups, error: null }),
        (error) => stop.signal.aborted || setState((state) => ({ ...state, error })),
      );
    }
    return () => stop.abort();
  }, [asked]);
  const { faults, rest } = faultsOf(state.error, (field) => fields.some((name) => field.startsWith(name)));
  const set = (name) => (event) => setTyped({ ...typed, [name]: event.target.value });
  return html`<section><h2>Test the rules</h2>
    <div class="fields">
      <${Field} label="Event" fault=${faults.event}><input name="test-event" placeholder="image.render" value=${typed.event} onInput=${set('event')} /><//>
      <${Field} label="Quantity" fault=${faults.quantity}><input name="test-quantity" inputmode="decimal" placeholder="1" value=${typed.quantity} onInput=${set('quantity')} /><//>
      <${Field} label="Metadata" hint="model=large, team=red" fault=${Object.entries(faults).find(([field]) => field.startsWith('metadata'))?.[1]}><input name="test-metadata" value=${typed.metadata} onInput=${set('metadata')} /><//>
    </div>
    <${ErrorBox} error=${rest} />
    ${typed.event && !state.groups && !state.error && html`<${Loading} what="the result" />`}
    ${state.groups && html`<${Groups} groups=${state.groups} />`}
  </section>`;
}
