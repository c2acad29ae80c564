// What a save would do, asked of the gateway whenever the typing pauses, and where its faults are shown.

import { useEffect, useState } from '../vendor/hooks.js';
import * as api from '../api.js';
import { UNNAMED } from '../rule_tester.js';
import { useSettled } from '../ui.js';

export function parseFault(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return { title: 'This is not JSON', message: error.message };
  }
}

/**
 * What is sent: the text as it was typed, without an id in it, which the path says. A different id in the JSON of a stored
 * document (one with a version) stays, so that the API refuses it.
 */
export function bodyOf(text, id, version) {
  const document = JSON.parse(text);
  if (document?.id === undefined || (version && document.id !== id)) return text;
  const { id: _, ...body } = document;
  return JSON.stringify(body);
}

/** @returns {Promise<{preview: any, error: any}>} */
export async function dryRun(kind, id, text, version) {
  const fault = parseFault(text);
  if (fault) return { preview: null, error: fault };
  try {
    const preview = await api.send('PUT', `${api.path(kind.path, id || UNNAMED)}?dryRun=true`, bodyOf(text, id, version), api.ifMatch(version));
    return { preview, error: null };
  } catch (error) {
    return { preview: null, error };
  }
}

/** `wanted`: only those who may save ask. */
export function useCheck({ kind, id, text, version, wanted = true }) {
  const settled = useSettled(text, 300);
  const [state, setState] = useState({ of: null, preview: null, error: null });
  useEffect(() => {
    let left = false;
    if (wanted) dryRun(kind, id, settled, version).then((found) => left || setState({ of: settled, ...found }));
    return () => {
      left = true;
    };
  }, [settled, id, version, wanted]);
  return { ...state, checking: wanted && state.of !== text, found: (found) => setState({ of: text, ...found }) };
}

/** The control of a field, or of the nearest one around it. */
function controlOf(form, name) {
  for (let path = name; path; path = path.replace(/(\.[^.[]*|\[\d+\]|^[^.[]+)$/, '')) {
    const text = CSS.escape(path);
    const control = form.querySelector(`[name="${text}"]`) ?? form.querySelector(`[name^="${text}."], [name^="${text}\\["]`);
    if (control) return control;
  }
  return form.querySelector('[name="document"], input, select');
}

/** Opens what hides a field and gives it the focus. */
export function jumpTo(form, name) {
  const control = controlOf(form, name);
  for (let hidden = control?.closest('details:not([open])'); hidden; hidden = control.closest('details:not([open])')) hidden.open = true;
  control?.focus();
}
