--[[
The library that is loaded into Redis once, so that calls do not recreate its tables and functions. A node builds it
(src/store/client/library.rs): an @include inserts that file, a @command creates a Redis function that runs that file.
Library and functions are named by a hash of the whole text, so nodes of two releases can use the same Redis.
A file of lib/ uses only those above it.
]]
-- Lua looks up a global in an empty table first, and then through its metatable. So the first call stores the globals
-- that are used. While the library is loaded they do not exist, and `redis` is another object.
local function globals()
  return redis, string, table, math, ipairs, pairs, pcall, tonumber, type, unpack, cjson, loadstring, redis.call, string.match, string.find, string.sub,
    table.concat
end
local redis, string, table, math, ipairs, pairs, pcall, tonumber, type, unpack, cjson, loadstring, redis_call, match, find, sub, concat = redis

-- The arguments of the present call: calls run one at a time, from beginning to end.
local KEYS, ARGV

--- @include "lib/args"
--- @include "lib/chunked_hash"
--- @include "lib/present"
--- @include "lib/clock"
--- @include "lib/keys"
--- @include "lib/window"
--- @include "lib/account"
--- @include "lib/outbox"
--- @include "lib/ledger"
--- @include "lib/credits"
--- @include "lib/balances"
--- @include "lib/unroll"
--- @include "lib/program"
--- @include "lib/hold"
--- @include "lib/record"
--- @include "lib/allowance"
--- @include "lib/own_quota"
--- @include "lib/rollover"
--- @include "lib/alert"
--- @include "lib/approval"
--- @include "lib/counter"
--- @include "lib/operation"
--- @include "lib/layout6"
--- @include "lib/facts"
--- @include "lib/proposal"
--- @include "lib/retention"
--- @include "lib/admission"
--- @include "lib/fit"
--- @include "lib/settle"
--- @include "lib/overflow"
--- @include "lib/straight"
--- @include "lib/straight_overflow"
--- @include "lib/straight_reserve"
--- @include "lib/straight_settle"
--- @include "lib/audit"
--- @include "lib/tracking"

-- Clears everything of the previous call, even if an error ended it. `bundled`: whether it is in the same bundle.
local function begin(call_keys, call_argv, bundled)
  KEYS, ARGV = call_keys, call_argv
  if not bundled then
    present.clear()
  end
  if not string then
    redis, string, table, math, ipairs, pairs, pcall, tonumber, type, unpack, cjson, loadstring, redis_call, match, find, sub, concat = globals()
    args.prepare()
  end
  args.position, hold.taken = 0, 0
end

-- Runs a function for several calls of one node, a bundle. KEYS: those of all calls. ARGV: per call '<number of keys> <number
-- of arguments>', its arguments. Replies with the list of their replies. An error ends only its own call.
local function run_bundle(run, all_keys, argv)
  begin(all_keys, argv)
  local replies, key_at, at = {}, 0, 1
  while at <= #argv do
    local keys, arguments = match(argv[at], '^(%d+) (%d+)$')
    local last_key, last = key_at + keys, at + arguments
    local succeeded, reply = pcall(run, { unpack(all_keys, key_at + 1, last_key) }, { unpack(argv, at + 1, last) }, true)
    if not succeeded then
      -- Redis' own errors begin with a code.
      reply = redis.error_reply(find(reply, '^%u+ ') and reply or 'ERR ' .. reply)
    end
    replies[#replies + 1] = reply
    key_at, at = last_key, last + 1
  end
  return replies
end

-- Flags for a Redis that has reached its memory limit. allow-oom: always allowed, for calls that free memory, whose
-- number is limited by stored data, or that operators make. headroom: allowed up to a limit that the node checks
-- (src/store/client/headroom.rs). Without a flag: rejected. bundled: a node also calls it for several calls at once
-- (src/store/client/bundles.rs).
--- @command "announce" allow-oom
--- @command "attempted" allow-oom
--- @command "change_user" headroom
--- @command "claim" allow-oom
--- @command "commit" headroom bundled
--- @command "configure" allow-oom
--- @command "credit" allow-oom
--- @command "decide" allow-oom
--- @command "define" no-writes
--- @command "enqueue" headroom
--- @command "extend" headroom
--- @command "grant" allow-oom
--- @command "limit" allow-oom
--- @command "list_credits" no-writes
--- @command "log" allow-oom
--- @command "mark" allow-oom
--- @command "migrate" allow-oom
--- @command "near" headroom
--- @command "outcome" headroom
--- @command "reclaim" allow-oom
--- @command "refund" headroom
--- @command "register" allow-oom
--- @command "release" allow-oom bundled
--- @command "repair" allow-oom
--- @command "replace_rollup"
--- @command "reserve" bundled
--- @command "revoke" allow-oom
--- @command "rollup" headroom
--- @command "session" allow-oom
--- @command "set_clock"
--- @command "set_layout" allow-oom
--- @command "stamp" allow-oom
--- @command "survey" no-writes
--- @command "track" headroom bundled
--- @command "track_degraded" allow-oom
--- @command "track_enforce" bundled
--- @command "usage" no-writes
--- @command "void_credit" allow-oom
