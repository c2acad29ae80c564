--[[
outcome: records the outcome of a committed reservation.

KEYS
  see lib/settle

ARGV
  1 to 4: see lib/settle; then:
  outcome (accepted | rejected)
  details_again: for the ledger in place of the details, if another outcome was recorded before

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing, now                              no such reservation (any more)
  expired, now                              past its grace
  not_pending, now, status                  it is held, or was released
  recorded, now, replayed (0|1), about, memo    about: '<event> <key> <user>'; replayed: the same outcome was recorded before
]]

local call, seen = settle.call()
if seen then
  return seen
end
local outcome, details_again = args.texts(2)
local loaded, now = settle.load(call)
if not loaded then
  return now
end
if loaded.status ~= 'committed' then
  return { 'not_pending', now, loaded.status }
end
local known = loaded.outcome == outcome
if not known then
  ledger.append('outcome', now, false, loaded, loaded.outcome == '-' and call.details or details_again)
  loaded.outcome = outcome
end
local answer = { 'recorded', now, known and 1 or 0, loaded.about, loaded.memo }
return (call.operation_key or not known) and settle.keep(call, loaded, now, answer) or answer
