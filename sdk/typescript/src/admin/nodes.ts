/** Where the gateway runs, and the sandboxes of test mode. */
import type { CallOptions } from "../call-options.js";
import type { NodeView, SandboxView } from "../models.js";
import { type Page, Resource } from "./resource.js";

/** Nodes that serve on the same Redis. */
export class Nodes extends Resource {
  /**
   * Nodes that were heard of within the hour.
   *
   * @example
   * const silent = (await client.admin.nodes.list()).data.filter((node) => node.silent);
   */
  list(options: CallOptions = {}): Promise<Page<NodeView>> {
    return this.read([], {}, options);
  }
}

/** Sandboxes of the app. */
export class Sandboxes extends Resource {
  /**
   * Every sandbox that a key was made for, and where its clock stands.
   *
   * @example
   * const { data } = await client.admin.sandboxes.list();
   */
  list(options: CallOptions = {}): Promise<Page<SandboxView>> {
    return this.read([], {}, options);
  }
}
