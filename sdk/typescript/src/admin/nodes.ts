/** The nodes of the gateway, and the sandboxes of an app. */
import type { CallOptions } from "../call-options.js";
import type { NodeView, SandboxView } from "../models.js";
import { type Page, Resource } from "./resource.js";

/** The nodes of the gateway. */
export class Nodes extends Resource {
  /**
   * The nodes that reported within the last hour.
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
   * Every sandbox that has a key, with the time of its clock.
   *
   * @example
   * const { data } = await client.admin.sandboxes.list();
   */
  list(options: CallOptions = {}): Promise<Page<SandboxView>> {
    return this.read([], {}, options);
  }
}
