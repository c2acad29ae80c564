--[[
The library as Redis keeps it: loaded once, so that no call makes its tables and functions anew. A node puts it
together (src/store/client/library.rs): an @include stands for that file, an @command for a Redis function that runs that file.
Library and functions are named by a hash of all of it, so nodes of two releases work side by side.
A file of lib/ uses only those above it.
]]
-- A global is looked for in an empty table first and then, through its metatable, where it is; so the first call keeps
-- those that are used. While the library is loaded there are none of them, and another `redis`.
local function globals()
  return redis, string, table, math, ipairs, pairs, tonumber, type, unpack, cjson, redis.call, string.match, string.find, string.sub,
    table.concat
end
local redis, string, table, math, ipairs, pairs, tonumber, type, unpack, cjson, redis_call, match, find, sub, concat = redis

-- What the present call is given: one runs at a time, from beginning to end.
local KEYS, ARGV

--- @include "lib/args"
--- @include "lib/pieces"
--- @include "lib/clock"
--- @include "lib/keys"
--- @include "lib/window"
--- @include "lib/account"
--- @include "lib/outbox"
--- @include "lib/ledger"
--- @include "lib/program"
--- @include "lib/hold"
--- @include "lib/record"
--- @include "lib/allowance"
--- @include "lib/alert"
--- @include "lib/approval"
--- @include "lib/counter"
--- @include "lib/operation"
--- @include "lib/layout6"
--- @include "lib/facts"
--- @include "lib/proposal"
--- @include "lib/retention"
--- @include "lib/admission"
--- @include "lib/settle"
--- @include "lib/straight"
--- @include "lib/straight_reserve"
--- @include "lib/straight_settle"
--- @include "lib/audit"
--- @include "lib/tracking"

-- Nothing of the call before is left, even if an error ended it.
local function begin(call_keys, call_argv)
  KEYS, ARGV = call_keys, call_argv
  if not string then
    redis, string, table, math, ipairs, pairs, tonumber, type, unpack, cjson, redis_call, match, find, sub, concat = globals()
    args.prepare()
  end
  args.position, hold.taken = 0, 0
end

-- allow-oom: also in a Redis that uses as much memory as it may: what frees, what is bounded by what is there, and what
-- operators do. headroom: beyond it up to a bound that the node checks (src/store/client/headroom.rs). Without either: refused.
--- @command "announce" allow-oom
--- @command "attempted" allow-oom
--- @command "change_user" headroom
--- @command "claim" allow-oom
--- @command "commit" headroom
--- @command "configure" allow-oom
--- @command "decide" allow-oom
--- @command "define" no-writes
--- @command "enqueue" headroom
--- @command "extend" headroom
--- @command "grant" allow-oom
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
