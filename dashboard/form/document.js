// Plans and policies as plain objects. The form reads and writes single fields by their path and leaves everything else as
// it is, so that fields which the form does not show stay in the document.

/** Other names that the API accepts. A document that uses one keeps it. */
const aliases = { label: 'name', matches: 'match', periodType: 'period', periodAnchor: 'anchor' };

const keyOf = (thing, name) => (aliases[name] && !Object.hasOwn(thing, name) && Object.hasOwn(thing, aliases[name]) ? aliases[name] : name);

/** The value of one field of a group or document, by its own name. */
export const field = (thing, name) => thing?.[keyOf(thing, name)];

/** @param {(string | number)[]} path */
export const at = (thing, path) => path.reduce((place, name) => (typeof name === 'number' ? place?.[name] : field(place ?? {}, name)), thing);

/**
 * A copy in which `next` has changed what is at the path. `undefined` removes the field.
 * @param {(string | number)[]} path
 * @param {(value: any) => any} next
 */
export function changed(thing, path, next) {
  const [name, ...rest] = path;
  if (name === undefined) return next(thing);
  if (typeof name === 'number') return thing.map((one, place) => (place === name ? changed(one, rest, next) : one));
  const key = keyOf(thing ?? {}, name);
  const value = changed(thing?.[key], rest, next);
  if (value !== undefined) return { ...thing, [key]: value };
  const { [key]: _, ...others } = thing ?? {};
  return others;
}

/** `['groups', 0, 'quota']` as the API writes it: `groups[0].quota`. */
export const pathText = (path) => path.map((name, place) => (typeof name === 'number' ? `[${name}]` : place === 0 ? name : `.${name}`)).join('');

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const isListOf = (value, test) => Array.isArray(value) && value.every(test);
const isRule = (rule) => isObject(rule) && (rule.metadata === undefined || isObject(rule.metadata));
const isGroup = (group) => isObject(group) && isListOf(field(group, 'matches') ?? [], isRule);

/** The form can show it: everything is of the kind that the form expects. Values may still be wrong. */
export const isShowable = (document) => isObject(document) && isListOf(document.groups ?? [], isGroup);

/** What was typed, as a JSON number where that says the same, else as text, which the API accepts for amounts too. */
export function asNumber(text) {
  const typed = text.trim();
  return typed !== '' && String(Number(typed)) === typed ? Number(typed) : typed;
}

/** A list without entries is left out. */
export const listOrNothing = (list) => (list.length > 0 ? list : undefined);

/** A list in which one entry has another place. */
export function moved(list, from, to) {
  const rest = list.filter((_, place) => place !== from);
  return [...rest.slice(0, to), list[from], ...rest.slice(to)];
}

/** `Model A (1k)` as `model_a_1k`. */
export const slug = (text) => text.toLowerCase().normalize('NFKD').replace(/[^a-z0-9]+/g, '_').replace(/^_+|_+$/g, '').slice(0, 64);

/** A name that none of `taken` has. */
export function unused(name, taken) {
  if (!taken.has(name)) return name;
  let number = 2;
  while (taken.has(`${name}_${number}`)) number += 1;
  return `${name}_${number}`;
}

/** Does the glob match? As the gateway does it: `*` stands for any run of characters. */
export function globMatches(pattern, text) {
  const parts = pattern.split('*');
  if (parts.length === 1) return pattern === text;
  const [first, last] = [parts[0], parts[parts.length - 1]];
  if (!text.startsWith(first)) return false;
  let place = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, place);
    if (found < 0) return false;
    place = found + part.length;
  }
  return text.length >= place + last.length && text.endsWith(last);
}
