/** Apps, their settings and their configuration. */
import type { CallOptions, WriteOptions } from "../call-options.js";
import type { AppBody, AppView, Applied, Configuration, Settings } from "../models.js";
import { type Page, Resource, type VersionedOptions } from "./resource.js";

/** Options of `apply` and its preview. */
export interface ApplyOptions extends VersionedOptions {
  /** False: keep entries that the document does not have; `unlisted` of the answer names them. Default true. */
  prune?: boolean;
}

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
   * The same with its revision, so that `apply` can refuse to overwrite a later change.
   *
   * @example
   * const { configuration, revision } = await client.admin.configuration.getWithRevision();
   * await client.admin.configuration.apply(edited(configuration), { ifMatch: revision });
   */
  async getWithRevision(options: CallOptions = {}): Promise<{ configuration: Configuration; revision: number }> {
    const { body, headers } = await this.transport.answer<Configuration>({ method: "GET", path: this.path(), signal: options.signal });
    return { configuration: body, revision: Number(headers.get("etag")?.replaceAll('"', "")) };
  }

  /**
   * Makes the configuration match the document in one step, or changes nothing. A part that the document leaves out
   * stays as it is. Within a part, entries that the document does not have are deleted, unless `prune` is false.
   *
   * @param options `ifMatch`: only if the configuration still has this revision
   * @throws QuotagateError `invalid_request` (400), `plan_in_use` (409), `version_conflict` (412)
   *
   * @example
   * const { changes } = await client.admin.configuration.apply({ plans }, { prune: false });
   */
  apply(configuration: Configuration, options: ApplyOptions = {}): Promise<Applied> {
    return this.write("PUT", [], configuration, options, { prune: options.prune });
  }

  /**
   * What `apply` would change. Writes nothing. With `revision` of the answer as `ifMatch`, `apply` makes exactly these
   * changes.
   *
   * @throws QuotagateError as `apply`
   *
   * @example
   * const { changes, revision } = await client.admin.configuration.preview({ plans });
   * if (await confirmed(changes)) await client.admin.configuration.apply({ plans }, { ifMatch: revision });
   */
  preview(configuration: Configuration, options: ApplyOptions = {}): Promise<Applied & { revision: number }> {
    return this.write("PUT", [], configuration, options, { dryRun: true, prune: options.prune });
  }
}
