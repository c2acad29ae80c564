--[[
reclaim: takes one batch of an owner's expired holds out of its counters.

KEYS
  1  test clock (read only in a sandbox)
  2  account
  3  holds
  4  outbox
  5  ledger

ARGV
  sandbox, whether expiries are told (0|1), how many entries the ledger may have

Replies
  reclaimed, count, more (0|1)
]]

local now = clock.now_ms(KEYS[1], args.int())
local outbox_key = args.int() == 1 and KEYS[4] or nil
ledger.open(KEYS[5], args.int())
local count, more = hold.reclaim({ key = KEYS[2], holds = KEYS[3] }, now, outbox_key)
return { 'reclaimed', args.digits(count), more and '1' or '0' }
