/** The common base of the parts of `admin`. */
import type { CallOptions, WriteOptions } from "../call-options.js";
import type { Call, Transport } from "../http/transport.js";

/** One page of a list. */
export interface Page<T> {
  data: T[];
  /** The cursor of the next page; null on the last one. */
  nextCursor?: string | null;
}

/** Options of lists. */
export interface ListOptions extends CallOptions {
  cursor?: string;
  /** The most entries of a page. */
  limit?: number;
}

/** Options of writes that can depend on a version. */
export interface VersionedOptions extends WriteOptions {
  /** Write only if this is still the version; otherwise `version_conflict` (412). */
  ifMatch?: number;
}

type Query = NonNullable<Call["query"]>;

/** Calls under one path. */
export class Resource {
  constructor(
    /** @internal */
    protected readonly transport: Transport,
    /** @internal */
    protected readonly root: string,
  ) {}

  /** @internal */
  protected path(...parts: string[]): string {
    return [this.root, ...parts.map(encodeURIComponent)].filter(Boolean).join("/");
  }

  /** @internal */
  protected read<T>(parts: string[], query: Query = {}, options: CallOptions = {}): Promise<T> {
    return this.transport.send<T>({ method: "GET", path: this.path(...parts), query, signal: options.signal });
  }

  /** @internal */
  protected write<T>(method: "POST" | "PUT", parts: string[], body: object | undefined, options: VersionedOptions = {}, query: Query = {}): Promise<T> {
    const { signal, idempotencyKey, ifMatch } = options;
    return this.transport.send<T>({ method, path: this.path(...parts), body, query, headers: match(ifMatch), write: true, idempotencyKey, signal });
  }

  /** @internal What a delete would change. */
  protected dryDelete<T>(parts: string[], options: VersionedOptions = {}, query: Query = {}): Promise<T> {
    const { signal, ifMatch } = options;
    return this.transport.send<T>({ method: "DELETE", path: this.path(...parts), query: { ...query, dryRun: true }, headers: match(ifMatch), signal });
  }

  /** @internal A retry succeeds if an earlier attempt has deleted the thing. */
  protected async remove(parts: string[], options: VersionedOptions = {}, query: Query = {}): Promise<void> {
    await this.transport.send({
      method: "DELETE",
      path: this.path(...parts),
      query,
      headers: match(options.ifMatch),
      signal: options.signal,
      goneIsDone: true,
    });
  }
}

function match(version: number | undefined): Record<string, string> {
  return version === undefined ? {} : { "if-match": `"${version}"` };
}

/** Metadata as query parameters. */
export function metadataQuery(metadata: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`metadata.${name}`, value]));
}

/** Every entry of a list. The next page is requested when needed. */
export async function* everyEntry<T>(page: (cursor: string | undefined) => Promise<Page<T>>): AsyncGenerator<T, void, undefined> {
  let cursor: string | undefined;
  do {
    const { data, nextCursor } = await page(cursor);
    yield* data;
    cursor = nextCursor ?? undefined;
  } while (cursor !== undefined);
}
