--[[
reserve: checks every matched counter and places one hold in each of them, or in none.

KEYS
  1   stamp of the configuration in this bucket
  2   record of this operation
  3   test clock (read only in a sandbox)
  4   outbox
  5   ledger
  6   denials
  7…  per owner: counters, holds, past, and unless it is a user the index of its scope; the first owner is the user
  then, unless the request's id is '-': approvals, those that are open
  last two, unless forget_at is '-': index of users, those to be forgotten

ARGV
  fingerprint ('-' without an idempotency key)
  facts: see lib/facts
  operation name
  verdict: '' or the node's own refusal under these facts
  ttl_ms
  about: '<event> <key> <user>', told when the holds expire
  memo: the request, for whoever settles it (one line)
  owners: see lib/counter
  request: id of an approval request ('-' none), what the node tells of the call

Replies, in order of precedence
  replayed, record                          this operation was done before
  reused                                    the idempotency key came with another body
  stale_configuration, now, stamp           the node must load its configuration
  stale_stamp, now                          the node must make sure that this is its data, and stamp the bucket
  stale_user, now, version, plan, since, cycle, until, limits, block
  stale_time, now                           a window does not contain now
  again, now, reclaimed                     denied, but more expired holds are due
  denied, now, reclaimed, verdict, free_at_ms, opened, groups, then per group: used, held, granted, blocked,
    lacks (0|1); with an idempotency key also the groups as proposed: '<id> <amount> <limit> <window>,…'
  free_at_ms: when the first hold of every full concurrent group ends, else 0
  opened: approval requests, '<group>:<id>:<open|rejected>,…'; '' unless approval is all that lacks
  held, now, reclaimed, expires_at_ms, then per group: used, held, granted, blocked
  unmetered, now                            nothing to hold
]]

local fingerprint = args.text()
local seen = operation.seen(KEYS[2], fingerprint)
if seen then
  return seen
end

local given = facts.read()
ledger.open(KEYS[5], given.ledger_most)
local name, verdict, ttl, about, memo = args.texts(5)
local owners, tail = counter.owners(7)
local asked, index = admission.read_asked(tail)
local refused = { key = KEYS[6], call = 'reserve', about = about, memo = memo }
local refusal, now, reclaimed = admission.decide(given, verdict, owners, KEYS[4], asked, index, refused)
if refusal then
  return refusal[1] == 'denied' and operation.keep(KEYS[2], fingerprint, refusal, owners) or refusal
end
if counter.count(owners) == 0 then
  return operation.keep(KEYS[2], fingerprint, { 'unmetered', now }, owners)
end

local expires_at_ms = now + ttl
local created, expires_at = args.digits(now), args.digits(expires_at_ms)
local told = about .. ' ' .. created
local record = 'reservation\n' .. fingerprint .. '\nheld ' .. created .. ' ' .. expires_at .. ' 0\n' .. about .. ' ' .. memo
for at = 1, #owners do
  local owner = owners[at]
  if #owner.groups > 0 then
    record = record .. '\n' .. admission.place(owner, name, told, now, expires_at_ms, expires_at)
    retention.keep(owner, given, now, KEYS[index], KEYS[index + 1])
    told = '- ' .. created
  end
end
redis.call('SET', KEYS[2], record, 'PX', clock.ttl(ttl + clock.grace_ms, given.sandbox))
return counter.reply({ 'held', now, reclaimed, expires_at }, owners)
