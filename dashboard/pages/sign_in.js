import { useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { ErrorBox, Field, html } from '../ui.js';

/** The API's own words are for those who call it. */
const notValid = { title: 'The API key is not valid', message: 'Enter the admin key that the gateway printed at its first start, or one that an admin created on the page Keys. Revoked keys do not work.' };

export function SignIn() {
  const [key, setKey] = useState('');
  const [state, setState] = useState({ busy: false, error: null });
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true, error: null });
    try {
      await api.signIn(key.trim());
    } catch (error) {
      setState({ busy: false, error: error.code === 'invalid_key' ? notValid : error });
    }
  };
  // The name is for password managers, which keep a password under one.
  return html`<main class="door">
    <h1>quotagate</h1>
    ${api.place.ended && html`<p role="alert">Your session has expired, or its key was revoked. Sign in to continue.</p>`}
    <p class="quiet">Sign in with an admin key.</p>
    <form onSubmit=${submit}>
      <input type="text" name="username" value="admin" autocomplete="username" readonly hidden />
      <${Field} label="Admin key" hint="It begins with ak_. The gateway prints one at its first start, unless QUOTAGATE_ADMIN_KEY is set.">
        <input type="password" name="key" required autocomplete="current-password" spellcheck=${false} value=${key}
          onInput=${(event) => setKey(event.target.value)} autofocus />
      <//>
      <${ErrorBox} error=${state.error} />
      <button type="submit" class="primary" disabled=${state.busy}>Sign in</button>
    </form>
  </main>`;
}
