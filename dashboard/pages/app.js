// The app's settings.

import { useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { ErrorBox, Field, Heading, Loaded, faultsOf, html, useLoad, useWrite } from '../ui.js';

const names = ['defaultPlanId', 'onStoreFailure', 'maxScopeValues', 'reportLabels', 'currency'];

const asTyped = (settings) => ({ ...settings, defaultPlanId: settings.defaultPlanId ?? '', maxScopeValues: String(settings.maxScopeValues), reportLabels: settings.reportLabels.join(', '), currency: settings.currency ?? '' });

/** What is not shown here stays as it is. */
const asSettings = (typed) => ({
  ...typed,
  defaultPlanId: typed.defaultPlanId || null,
  maxScopeValues: Number(typed.maxScopeValues),
  reportLabels: typed.reportLabels.split(/[\s,]+/).filter(Boolean),
  currency: typed.currency.trim() || null,
});

function Form({ settings, plans, done }) {
  const [typed, setTyped] = useState(asTyped(settings));
  const [saved, setSaved] = useState(false);
  const { busy, error, write } = useWrite();
  const admin = api.may('admin');
  const set = (name) => (event) => {
    setSaved(false);
    setTyped({ ...typed, [name]: event.target.value });
  };
  const submit = async (event) => {
    event.preventDefault();
    const stored = await write('PUT', 'app', asSettings(typed));
    if (!stored) return;
    setSaved(true);
    api.setCurrency(stored.currency ?? null);
    done();
  };
  // A list's fault names its entry: `reportLabels[0]`.
  const named = (field) => names.find((name) => field.startsWith(name));
  const { rest } = faultsOf(error, named);
  const fault = (name) => error?.errors?.find((one) => named(one.field) === name)?.message;
  return html`<form class="settings" onSubmit=${submit}>
    <${Field} label="Default plan" hint="For users without a subscription. Its limit groups need calendar periods or no period." fault=${fault('defaultPlanId')}>
      <select name="defaultPlanId" disabled=${!admin} value=${typed.defaultPlanId} onChange=${set('defaultPlanId')}><option value="">None: calls are denied</option>
        ${plans.map((plan) => html`<option value=${plan.id}>${plan.name ? `${plan.name} (${plan.id})` : plan.id}</option>`)}</select><//>
    <${Field} label="Report labels" hint="More metadata fields for reports, at most 16, such as tier, region." fault=${fault('reportLabels')}>
      <input name="reportLabels" disabled=${!admin} value=${typed.reportLabels} onInput=${set('reportLabels')} /><//>
    <${Field} label="Values per scope" hint="How many values of a metadata scope can have counters at a time. Calls with further values are denied." fault=${fault('maxScopeValues')}>
      <input name="maxScopeValues" type="number" min="1" max="10000000" required disabled=${!admin} value=${typed.maxScopeValues} onInput=${set('maxScopeValues')} /><//>
    <${Field} label="Currency" hint="In which the dashboard shows cents, such as USD or EUR. Empty: amounts in cents." fault=${fault('currency')}>
      <input name="currency" maxlength="3" disabled=${!admin} value=${typed.currency} onInput=${set('currency')} /><//>
    <${Field} label="When Redis cannot be reached" fault=${fault('onStoreFailure')}>
      <select name="onStoreFailure" disabled=${!admin} value=${typed.onStoreFailure} onChange=${set('onStoreFailure')}><option value="deny">Calls fail with 503</option><option value="allow">Reserves are allowed, up to a number per node, and counted later</option></select><//>
    <${ErrorBox} error=${rest} />
    <div class="row">${admin && html`<button type="submit" class="primary" disabled=${busy}>${busy ? 'One moment…' : 'Save'}</button>`}<span role="status">${saved ? 'Saved. It applies from the next call on.' : ''}</span></div>
  </form>`;
}

export function AppSettings() {
  const settings = useLoad((signal) => api.get('app', signal), [api.place.app]);
  const plans = useLoad((signal) => api.get('plans', signal), [api.place.app]);
  return html`
    <${Heading} title="App settings" />
    <${Loaded} of=${plans} what="plans">${() => html`<${Loaded} of=${settings} what="settings">${() => html`<${Form} settings=${settings.data} plans=${plans.data.data} done=${settings.reload} />`}<//>`}<//>`;
}
