--[[
credit: adds a credit to an owner's balance, once per source.

KEYS
  1   record of this operation
  2   account of the owner

ARGV
  see lib/proposal; its own, with an owner of one balance
  5   user ('' if the owner is none)
  6   ID of the credit
  7   amount
  8   ends_at_ms ('*' never)
  9   source, percent-encoded ('' none)
  10  details of the credit, for its record
  11  label for the ledger: '- <key> <user|->'
  12  details for the ledger (JSON, or '')
  13  answer: stored for the idempotency key
  14… audit: field count, then name and value each

Replies, in order of precedence
  unknown                                   the program has to be defined
  replayed, record | reused                 see lib/operation
  stale_configuration | stale_stamp | stale_user | stale_time    as in reserve
  known, now, details, credit               this source has added a credit before; as in lib/credits
  full, now                                 the owner has 64 credits of which something remains or is held
  overflow, now                             they would add up beyond 2^53 - 1
  credited, now, answer
]]

local p = proposal.read(2, 10 + 2 * ARGV[14])
if not p then
  return { 'unknown' }
end
local seen = operation.seen(KEYS[1], p.fingerprint)
if seen then
  return seen
end
local user, id, amount, ends_at, source, about = unpack(ARGV, 5, 10)
local label, details, answer = unpack(ARGV, 11, 13)
args.skip(13)
local audit_entry = audit.read()
local stale, now = facts.check(p)
if stale then
  return stale
end

-- Expired holds may still occupy credits.
facts.reclaim(p, now)
local owner = p.owners[1]
local balance = owner.groups[1].balance
local known_credits, by_id = keys.credits(p.tag, owner.word), keys.of(p.tag, 'credits')
local name = source ~= '' and redis.call('HGET', known_credits, balance.id .. ':' .. source)
if name then
  local known = redis.call('HGET', known_credits, balance.id .. '.' .. name) or ''
  return operation.keep(KEYS[1], p.fingerprint, { 'known', now, known, credits.text(credits.find(owner, balance, name)) })
end
if credits.count_live(balance) >= credits.most then
  return operation.keep(KEYS[1], p.fingerprint, { 'full', now })
end
if credits.is_too_large(balance, args.stored(amount)) then
  return operation.keep(KEYS[1], p.fingerprint, { 'overflow', now })
end

redis.call('EXISTS', by_id)
credits.touch(owner)
local credit = credits.add(balance, amount, ends_at)
if p.version == '0' then
  retention.adopt(owner)
end
-- A balance is not charged here, so it has no window of its own.
counter.write(owner, now, {})
local fields = { balance.id .. '.' .. credit.name, about }
if source ~= '' then
  fields[3], fields[4] = balance.id .. ':' .. source, credit.name
end
redis.call('HSET', known_credits, unpack(fields))
redis.call('HSET', by_id, id, owner.word .. ' ' .. balance.id .. ' ' .. credit.name)
balances.record(owner, balance, credit, credit.amount,
  { kind = 'credit', what = 'credited', at = args.digits(now), label = label, details = details })
-- Whoever has credits does not expire.
if owner.renew == '-' then
  redis.call('ZADD', keys.of(p.tag, 'users'), 0, user)
else
  owner.renew = 'never'
  retention.renew(owner, now, p.sandbox)
end
audit.write(keys.of(p.tag, 'audit'), audit_entry)
if p.version == '0' then
  retention.stay(owner, user, keys.of(p.tag, 'leaving'))
end
return operation.keep(KEYS[1], p.fingerprint, { 'credited', now, answer })
