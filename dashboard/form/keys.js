// Keys for the entries of a list in a document, which have none: an entry keeps its key, and with it its controls and the
// focus, when it is moved.

import { useRef } from '../vendor/hooks.js';
import { moved } from './document.js';

export class Keys {
  #keys = [];
  #next = 0;

  #fresh() {
    this.#next += 1;
    return this.#next;
  }

  /** One key for each of `count` entries. Entries that are new at the end get new ones. */
  of(count) {
    this.#keys = Array.from({ length: count }, (_, place) => this.#keys[place] ?? this.#fresh());
    return this.#keys;
  }

  move(from, to) {
    this.#keys = moved(this.#keys, from, to);
  }

  insert(place) {
    this.#keys = [...this.#keys.slice(0, place), this.#fresh(), ...this.#keys.slice(place)];
  }

  remove(place) {
    this.#keys = this.#keys.filter((_, other) => other !== place);
  }
}

/** @returns {Keys} */
export function useKeys() {
  const keys = useRef(/** @type {Keys | null} */ (null));
  keys.current ??= new Keys();
  return keys.current;
}
