--[[
The library that is loaded into Redis once, so that calls do not recreate its tables and functions. A node builds it
(src/store/client/library.rs): an @include inserts that file, a @command creates a Redis function that runs that file.
Library and functions are named by a hash of the whole text, so nodes of two releases can use the same Redis.
A file of lib/ uses only those above it.
]]
-- Lua looks up a global in an empty table first, and then through its metatable. So the first call stores the globals
-- that are used. While the library is loaded they do not exist, and `redis` is another object.
local function globals()
  return redis, string, table, math, ipairs, pairs, tonumber, type, unpack, cjson, loadstring, redis.call, string.match, string.find, string.sub,
    table.concat
end
local redis, string, table, math, ipairs, pairs, tonumber, type, unpack, cjson, loadstring, redis_call, match, find, sub, concat = redis

-- The arguments of the present call: calls run one at a time, from beginning to end.
local KEYS, ARGV

--- @include "lib/args"
--- @include "lib/chunked_hash"
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

-- Clears everything of the previous call, even if an error ended it.
local function begin(call_keys, call_argv)
  KEYS, ARGV = call_keys, call_argv
  if not string then
    redis, string, table, math, ipairs, pairs, tonumber, type, unpack, cjson, loadstring, redis_call, match, find, sub, concat = globals()
    args.prepare()
  end
  args.position, hold.taken = 0, 0
end

-- Flags for a Redis that has reached its memory limit. allow-oom: always allowed, for calls that free memory, whose
-- number is limited by stored data, or that operators make. headroom: allowed up to a limit that the node checks
-- (src/store/client/headroom.rs). Without a flag: rejected.
--- @command "announce" allow-oom
--- @command "attempted" allow-oom
--- @command "change_user" headroom
--- @command "claim" allow-oom
--- @command "commit" headroom
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
--- @command "release" allow-oom
--- @command "repair" allow-oom
--- @command "replace_rollup"
--- @command "reserve"
--- @command "revoke" allow-oom
--- @command "rollup" headroom
--- @command "session" allow-oom
--- @command "set_clock"
--- @command "set_layout" allow-oom
--- @command "stamp" allow-oom
--- @command "survey" no-writes
--- @command "track" headroom
--- @command "track_degraded" allow-oom
--- @command "track_enforce"
--- @command "usage" no-writes
--- @command "void_credit" allow-oom
