--[[
reclaim: removes one batch of an owner's expired holds from its counters.

KEYS
  1  test clock (read only in a sandbox)
  2  account
  3  holds
  4  outbox
  5  ledger

ARGV
  sandbox, whether expiries are reported (0|1), maximum number of ledger entries

Replies
  reclaimed, count, more (0|1)
]]

local now = clock.now_ms(KEYS[1], args.int())
local outbox_key = args.int() == 1 and KEYS[4] or nil
ledger.open(KEYS[5], args.int())
local count, more = hold.reclaim({ key = KEYS[2], holds = KEYS[3] }, now, outbox_key)
return { 'reclaimed', args.digits(count), more and '1' or '0' }
