/** Follows a user's counters. */
import type { WatchOptions } from "./call-options.js";
import { follow } from "./http/follow.js";
import type { Transport } from "./http/transport.js";
import type { Usage } from "./results.js";

/** The present usage and every change; the same state is never yielded twice in a row. */
export function watch(transport: Transport, userId: string, options: WatchOptions & { event?: string }): AsyncGenerator<Usage, void, undefined> {
  const { signal, event, userToken } = options;
  let last = "";
  return follow(transport, {
    path: "usage/stream",
    query: { userId, event },
    headers: userToken === undefined ? {} : { "x-user-token": userToken },
    signal,
    read: ({ event: name, data }) => {
      if (name !== "usage" || data === last) return undefined;
      const usage = JSON.parse(data) as Usage;
      last = data;
      return usage;
    },
  });
}
