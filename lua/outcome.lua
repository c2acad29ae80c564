--[[
outcome: what the result of a committed reservation was worth.

KEYS
  1  record of the reservation
  2  test clock (read only in a sandbox)
  3  ledger
  4  record of this operation (only with an idempotency key)

ARGV
  fingerprint ('-' without an idempotency key)
  sandbox, created_at_ms (of the id), how many entries the ledger may have
  outcome (accepted | rejected)
  told: the same for the ledger (JSON); where another was told before, told_again with both
  told_again

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing, now                              no such reservation (any more)
  expired, now                              past its grace
  not_pending, now, status                  it is held, or was released
  told, now, replayed (0|1), request        request: '<event> <key> <user> <memo>'; replayed: it was told so before
]]

local fingerprint = args.text()
local seen = KEYS[4] and operation.seen(KEYS[4], fingerprint)
if seen then
  return seen
end

local sandbox, created_at = args.int(), args.text()
ledger.open(KEYS[3], args.int())
local outcome, told, told_again = args.text(), args.text(), args.text()
local now = clock.now_ms(KEYS[2], sandbox)
local loaded = record.load(KEYS[1], created_at)
if not loaded then
  return { 'missing', now }
end
if now >= loaded.expires_at + clock.grace_ms then
  return { 'expired', now }
end
if loaded.status ~= 'committed' then
  return { 'not_pending', now, loaded.status }
end
local known = loaded.outcome == outcome
if not known then
  ledger.append('outcome', now, false, loaded.op, loaded.about, loaded.memo, loaded.outcome == '-' and told or told_again)
  loaded.outcome = outcome
end
if KEYS[4] or not known then
  record.save(loaded, KEYS[4] and operation.record_ttl(loaded.expires_at, now, sandbox))
end
local answer = { 'told', now, known and 1 or 0, loaded.about .. ' ' .. loaded.memo }
return KEYS[4] and operation.keep(KEYS[4], fingerprint, answer) or answer
