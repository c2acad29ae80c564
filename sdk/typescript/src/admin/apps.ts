/** Apps, their settings and their configuration. */
import type { CallOptions, WriteOptions } from "../call-options.js";
import type { AppBody, AppView, Applied, Configuration, Settings } from "../models.js";
import { type Page, Resource } from "./resource.js";

/** Apps of the operator; needs the root admin key. */
export class Apps extends Resource {
  /**
   * Creates an app.
   *
   * @param body `placement`, `app` (default) or `user`, cannot be changed later
   * @throws QuotagateError `invalid_request` (400), `forbidden_key` (403)
   *
   * @example
   * await client.admin.apps.create({ id: "shop" });
   */
  create(body: AppBody, options: WriteOptions = {}): Promise<AppView> {
    return this.write("POST", [], body, options);
  }

  /**
   * All apps.
   *
   * @example
   * const { data } = await client.admin.apps.list();
   */
  list(options: CallOptions = {}): Promise<Page<AppView>> {
    return this.read([], {}, options);
  }

  /**
   * Deletes an app with its keys, users, counters and configuration.
   *
   * @throws QuotagateError `not_found` (404)
   *
   * @example
   * await client.admin.apps.delete("shop");
   */
  delete(id: string, options: CallOptions = {}): Promise<void> {
    return this.remove([id], options);
  }
}

/** The settings of the client's app. */
export class AppSettings extends Resource {
  /**
   * Reads the settings.
   *
   * @example
   * const { defaultPlanId } = await client.admin.app.get();
   */
  get(options: CallOptions = {}): Promise<Settings> {
    return this.read([], {}, options);
  }

  /**
   * Replaces all settings; a setting that you leave out takes its default.
   *
   * @throws QuotagateError `invalid_request` (400)
   *
   * @example
   * await client.admin.app.put({ defaultPlanId: "free" });
   */
  put(settings: Settings, options: WriteOptions = {}): Promise<Settings> {
    return this.write("PUT", [], settings, options);
  }
}

/** The whole configuration as one document. */
export class Configurations extends Resource {
  /**
   * Reads the configuration as a document for `apply`.
   *
   * @example
   * const configuration = await client.admin.configuration.get();
   */
  get(options: CallOptions = {}): Promise<Configuration> {
    return this.read([], {}, options);
  }

  /**
   * Makes the configuration match the document in one step, or changes nothing. A part that the document leaves out
   * stays as it is. Within a part, entries that the document does not have are deleted.
   *
   * @throws QuotagateError `invalid_request` (400), `plan_in_use` (409)
   *
   * @example
   * const { changes } = await client.admin.configuration.apply({ plans });
   */
  apply(configuration: Configuration, options: WriteOptions = {}): Promise<Applied> {
    return this.write("PUT", [], configuration, options);
  }

  /**
   * What `apply` would change. Writes nothing.
   *
   * @throws QuotagateError as `apply`
   *
   * @example
   * const { changes, overLimit } = await client.admin.configuration.preview({ plans });
   */
  preview(configuration: Configuration, options: WriteOptions = {}): Promise<Applied> {
    return this.write("PUT", [], configuration, options, { dryRun: true });
  }
}
