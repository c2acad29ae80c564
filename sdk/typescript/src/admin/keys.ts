/** Keys of the app. */
import type { CallOptions, WriteOptions } from "../call-options.js";
import type { KeyBody, KeyView } from "../models.js";
import { type Page, Resource } from "./resource.js";

export class Keys extends Resource {
  /**
   * Creates a key. Only this answer contains `key` and `userTokenSecret`.
   *
   * @throws QuotagateError `invalid_request` (400), `forbidden_key` (403)
   *
   * @example
   * const { key } = await client.admin.keys.create({ kind: "secret", mode: "test", sandbox: "ci-7" });
   */
  create(body: KeyBody, options: WriteOptions = {}): Promise<KeyView> {
    return this.write("POST", [], body, options);
  }

  /**
   * All keys, with their masked prefix.
   *
   * @example
   * const { data } = await client.admin.keys.list();
   */
  list(options: CallOptions = {}): Promise<Page<KeyView>> {
    return this.read([], {}, options);
  }

  /**
   * Revokes a key on all nodes within one second.
   *
   * @param id the key's id, not the key
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * await client.admin.keys.revoke(old.id);
   */
  revoke(id: string, options: CallOptions = {}): Promise<void> {
    return this.remove([id], options);
  }
}
