/** Denials as errors: one class for each reason. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as sdk from "../src/index.js";
import {
  ApprovalRequired,
  CallTooLarge,
  type Client,
  Denied,
  GatewayUnavailable,
  type GroupBody,
  LimitReached,
  MissingScope,
  NotSubscribed,
  type Reason,
  UncoveredEvent,
  UnmatchedEvent,
  UserBlocked,
} from "../src/index.js";
import { group, world } from "./support/gateway.js";
import { startProxy } from "./support/proxy.js";

const GROUPS: GroupBody[] = [
  group("images", 2, "image.*", { label: "Images" }),
  group("audio", 10, "audio.*", { label: "Audio", maxPerCall: 3 }),
  group("tokens", 100, "", { label: "Tokens", unit: "tokens", matches: [{ event: "llm.*", metadata: { model: "small" } }], covers: ["llm.*"] }),
  group("teams", 10, "team.*", { label: "Teams", scope: ["user", "metadata.team"] }),
  group("videos", 1, "video.*", { label: "Videos", enforcement: "approval" }),
];

type Kind = new (decision: never) => Denied;

/** For each reason: the class, and a call that is denied for it. The compiler checks that every reason is here. */
const CASES: Record<Reason, [kind: Kind, event: string, quantity: number, message: string]> = {
  user_blocked: [UserBlocked, "image.render", 1, "The user is blocked"],
  no_subscription: [NotSubscribed, "image.render", 1, "The user has no subscription"],
  unmatched_event: [UnmatchedEvent, "imagine", 1, "No limit of the plan matches the event"],
  uncovered_event: [UncoveredEvent, "llm.chat", 1, "No match rule for the event in: Tokens"],
  missing_scope: [MissingScope, "team.call", 1, "Missing in the call: metadata.team"],
  call_too_large: [CallTooLarge, "audio.speak", 5, "Too large for one call: Audio (5 requested)"],
  limit_reached: [LimitReached, "image.render", 3, "Limit reached: Images (3 requested, 2 left)"],
  approval_required: [ApprovalRequired, "video.render", 2, "Approval required: Videos (2 requested, 1 left)"],
};

/** The error that a call throws. */
async function thrownBy(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => assert.fail("it was not denied"),
    (error: unknown) => error,
  );
}

function deniedBy(client: Client, userId: string, event: string, quantity: number): Promise<unknown> {
  return thrownBy(client.withReservation({ userId, event, quantity }, () => assert.fail("the work must not run")));
}

test("a denial throws the class of its reason, from every call", async () => {
  const { admin, connect, user } = await world(GROUPS);
  const client = connect({ throwOnDeny: true });
  await user("u_1");
  await user("u_blocked");
  await admin.admin.users.block("u_blocked");
  const userOf: Partial<Record<string, string>> = { user_blocked: "u_blocked", no_subscription: "u_unknown" };

  for (const [reason, [kind, event, quantity, message]] of Object.entries(CASES)) {
    const userId = userOf[reason] ?? "u_1";
    const errors = [
      await thrownBy(client.reserve(userId, event, quantity)),
      await thrownBy(client.track(userId, event, quantity, {}, { enforce: true })),
      await deniedBy(client, userId, event, quantity),
    ];

    for (const error of errors) {
      assert(error instanceof Denied);
      assert.deepEqual([error.constructor, error.name, error.code, error.status, error.message], [kind, kind.name, reason, 429, message]);
      assert.deepEqual(error.decision.reasons, [reason]);
    }
  }
});

test("every kind of Denied is exported", () => {
  const exported = Object.values(sdk).filter((value) => typeof value === "function" && value.prototype instanceof Denied);
  assert.deepEqual(new Set(exported), new Set(Object.values(CASES).map(([kind]) => kind)));
});

test("LimitReached knows when the last limit resets", async () => {
  const { client, user } = await world([
    group("daily", 5, "image.*", { periodType: "daily" }),
    group("monthly", 5, "image.*"),
    group("once", 5, "image.render", { periodType: "lifetime" }),
  ]);
  await user("u_1");
  const resets = new Map((await client.usage("u_1")).counters.map((counter) => [counter.groupId, counter.resetsAt]));
  await client.track("u_1", "image.render");

  const both = await deniedBy(client, "u_1", "image.show", 5);
  const never = await deniedBy(client, "u_1", "image.render", 5);

  assert(both instanceof LimitReached && never instanceof LimitReached);
  assert.equal(both.resetsAt, resets.get("monthly"));
  assert((both.retryAfterMs ?? 0) > 0);
  assert.deepEqual([never.resetsAt, never.retryAfterMs], [undefined, undefined]);
});

test("denials have what the plan returns", async () => {
  const fallback = { event: "image.b", metadata: { size: "1k" } };
  const onLimit = { message: "Used up", upgradeUrl: "https://example.com", fallback };
  const { client, user } = await world([group("a", 0, "image.a", { onLimit }), group("b", 1, "image.b"), ...GROUPS]);
  await user("u_1");

  const image = await deniedBy(client, "u_1", "image.a", 1);
  const team = await deniedBy(client, "u_1", "team.call", 1);
  const video = await deniedBy(client, "u_1", "video.render", 2);

  assert(image instanceof LimitReached && image.fallback);
  assert.deepEqual(image.onLimit, onLimit);
  assert((await client.reserve("u_1", image.fallback.event, 1, image.fallback.metadata)).allowed);
  assert(team instanceof MissingScope);
  assert.deepEqual([team.missing, team.onLimit, team.fallback], [["metadata.team"], undefined, undefined]);
  assert(video instanceof ApprovalRequired);
  assert.deepEqual(video.approvals.map(({ status }) => status), ["open"]);
});

test("an unreachable gateway is no denial", async () => {
  const { url, connect } = await world(GROUPS);
  const proxy = await startProxy(url);
  proxy.always(() => "busy");
  const client = connect({ baseUrl: proxy.url, retries: 0, throwOnDeny: true });

  const errors = [await thrownBy(client.reserve("u_1", "image.render")), await deniedBy(client, "u_1", "image.render", 1)];

  for (const error of errors) assert(error instanceof GatewayUnavailable);
  const { allowed, reasons } = await connect({ baseUrl: proxy.url, retries: 0 }).reserve("u_1", "image.render");
  assert.deepEqual([allowed, reasons], [false, ["gateway_unavailable"]]);
});
