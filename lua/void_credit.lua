--[[
void_credit: removes what remains of a credit, or a part of it.

KEYS
  1  account of the owner
  2  credits of the owner
  3  audit log
  4  test clock (read only in a sandbox)
  5  record of this operation
  6  ledger
  7  outbox

ARGV
  fingerprint ('-' without an idempotency key)
  sandbox, maximum number of ledger entries, whether expiries are reported (0|1)
  balance, number of the credit ('b<number>')
  amount ('*': all that remains, and what comes back later)
  label for the ledger: '- <key> <user|->'
  details for the ledger (JSON, or '')
  audit: field count, then name and value each

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing                                   there is no such credit
  exceeds, now, credit                      less remains than the amount; as in lib/credits
  voided, now, credit                       as it is now
]]

local fingerprint = args.text()
local seen = operation.seen(KEYS[5], fingerprint)
if seen then
  return seen
end
local now = clock.now_ms(KEYS[4], args.int())
ledger.open(KEYS[6], args.text())
local expiry_outbox = args.int() == 1 and KEYS[7] or nil
local id, name, amount, label, details = args.texts(5)
local audit_entry = audit.read()
if redis.call('HEXISTS', KEYS[2], id .. '.' .. name) == 0 then
  return { 'missing' }
end
redis.call('EXISTS', KEYS[7])
local word = keys.owner_word(KEYS[1])
hold.reclaim({ key = KEYS[1], holds = keys.holds(keys.tag(KEYS[1]), word) }, now, expiry_outbox)
local owner = { key = KEYS[1], word = word, balances = false, touched = true, now = now }
local balance = credits.load(owner, id, now)
local credit = credits.find(owner, balance, name)
local closes = amount == '*'
local removed = closes and credit.left or args.stored(amount)
if removed > credit.left then
  return operation.keep(KEYS[5], fingerprint, { 'exceeds', now, credits.text(credit) })
end
credits.void(balance, credit, removed, closes)
local fields = {}
local count = balances.append(owner, fields, 0)
chunked_hash.set(owner.key, fields, count)
balances.finish(owner, now, { label = label, details = details })
audit.write(KEYS[3], audit_entry)
return operation.keep(KEYS[5], fingerprint, { 'voided', now, credits.text(credit) })
