#!lua flags=allow-oom
--[[
reclaim: takes one batch of an owner's expired holds out of its counters.

KEYS
  1  test clock (read only in a sandbox)
  2  counters
  3  holds
  4  outbox

ARGV
  sandbox, whether expiries are told (0|1)

Replies
  reclaimed, count, more (0|1)
]]
--- @include "lib/args"
--- @include "lib/pieces"
--- @include "lib/clock"
--- @include "lib/outbox"
--- @include "lib/hold"

local now = clock.now_ms(KEYS[1], args.int())
local count, more = hold.reclaim({ counters = KEYS[2], holds = KEYS[3] }, now, args.int() == 1 and KEYS[4] or nil)
return { 'reclaimed', args.digits(count), more and '1' or '0' }
