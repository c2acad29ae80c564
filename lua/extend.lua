--[[
extend: gives a live reservation more time, more amount (checked like a reserve), or both, or changes nothing.

KEYS
  1   stamp of the configuration in this bucket
  2   record of the reservation
  3   test clock (read only in a sandbox)
  4   record of this operation
  5   outbox
  6   ledger
  7   denials
  8…  per owner: counters, holds, past, and unless it is a user the index of its scope; the first owner is the user
  then, unless the request's id is '-': approvals, those that are open
  last two, unless forget_at is '-': index of users, those to be forgotten

ARGV
  fingerprint ('-' without an idempotency key)
  created_at_ms (of the id), ttl_ms from now (0: no more time)
  changes: the reservation's changes that the amounts were computed on ('-' without amounts)
  memo: the new memo ('' keeps the old one)
  facts: see lib/facts (checked only with amounts)
  verdict: '' or the node's own refusal under these facts (only with amounts)
  owners: see lib/counter
  request: id of an approval request ('-' none), what the node tells of the call

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing, now                              no such reservation (any more)
  not_pending, now, status                  it was committed or released
  expired, now                              its time is over
  stale_reservation, now                    amounts were computed on an older state
  stale_configuration | stale_stamp | stale_user | stale_time | again | denied    as in reserve
  full, now                                 it would hold in more than 2048 windows
  extended, now, expires_at_ms, request, then per group: used, held, granted, blocked
]]

local longest_life_ms = 24 * 60 * 60 * 1000
-- Windows in which one reservation may hold: what settling it can still read and write in one short step.
local most_accounts = 2048

local fingerprint = args.text()
local operation_key = fingerprint ~= '-' and KEYS[4] or nil
local seen = operation_key and operation.seen(operation_key, fingerprint)
if seen then
  return seen
end

local created_at, ttl, changes, memo = args.text(), args.int(), args.text(), args.text()
local given = facts.read()
ledger.open(KEYS[6], given.ledger_most)
local verdict = args.text()
local owners, tail = counter.owners(8)
local asked, index = admission.read_asked(tail)
local now = clock.now_ms(KEYS[3], given.sandbox)
local loaded = record.load(KEYS[2], created_at)
if not loaded then
  return { 'missing', now }
end
if loaded.status ~= 'held' then
  if now >= loaded.expires_at + clock.grace_ms then
    return { 'expired', now }
  end
  return { 'not_pending', now, loaded.status }
end
local live = now < loaded.expires_at
for _, owner in ipairs(loaded.owners) do
  live = live and record.is_live(owner)
end
if not live then
  return { 'expired', now }
end
if changes ~= '-' and changes ~= args.digits(loaded.changes) then
  return { 'stale_reservation', now }
end

-- Also of an amount that comes to nothing by itself: the user may be blocked, or without a plan, by now.
if changes ~= '-' then
  local refused = { key = KEYS[7], call = 'extend', about = loaded.about, memo = memo ~= '' and memo or loaded.memo }
  local refusal = admission.decide(given, verdict, owners, KEYS[5], asked, index, refused)
  if refusal then
    return refusal[1] == 'denied' and operation_key and operation.keep(operation_key, fingerprint, refusal, owners) or refusal
  end
end

local function count_accounts()
  local count = 0
  for _, owner in ipairs(loaded.owners) do
    count = count + #owner.accounts
  end
  return count
end

for _, recorded in ipairs(loaded.owners) do
  for _, owner in ipairs(owners) do
    for _, group in ipairs(recorded.counters == owner.counters and owner.groups or {}) do
      record.hold(recorded, group.id, group.serial, group.amount)
    end
  end
end
if counter.count(owners) > 0 and count_accounts() > most_accounts then
  return { 'full', now }
end

local longest = args.stored(loaded.created_at) + longest_life_ms
loaded.expires_at = math.max(loaded.expires_at, ttl > 0 and math.min(now + ttl, longest) or 0)
local function has_charged(owner)
  for _, account in ipairs(owner.accounts) do
    if account.charged then
      return true
    end
  end
  return false
end

-- What was drawn may be drawn on and given back for longer now, also in windows that are closed.
local drawn = {}
for _, owner in ipairs(loaded.owners) do
  owner.closed = settle.closed_until(owner, loaded.expires_at)
  local last_expiry = has_charged(owner) and args.stored(redis.call('HGET', owner.counters, 'last_expiry'))
  if last_expiry and loaded.expires_at > last_expiry then
    drawn[#drawn + 1] = owner.counters
  end
end
-- Before a window closes, which is kept by it.
for _, counters in ipairs(drawn) do
  redis.call('HSET', counters, 'last_expiry', args.digits(loaded.expires_at))
end
for _, owner in ipairs(loaded.owners) do
  if #owner.closed > 0 then
    pieces.set(owner.past, owner.closed)
    counter.leave_together(owner)
  end
end
for _, owner in ipairs(owners) do
  for _, group in ipairs(owner.groups) do
    group.held = group.held + group.amount
  end
  counter.write(owner, 'held', now, alert.watch(owner, {}))
end
-- Also of an amount that comes to nothing by itself: the next one is measured with it.
if changes ~= '-' then
  loaded.changes = loaded.changes + 1
  loaded.memo = memo ~= '' and memo or loaded.memo
end
record.save(loaded, clock.ttl(loaded.expires_at - now + clock.grace_ms, given.sandbox))
local answer = counter.reply({ 'extended', now, loaded.expires_at, loaded.about .. ' ' .. loaded.memo }, owners)
if operation_key then
  operation.keep(operation_key, fingerprint, answer, owners)
end
for _, owner in ipairs(loaded.owners) do
  local member = record.member(loaded, owner)
  redis.call('ZADD', owner.holds, args.digits(loaded.expires_at), member)
  if member ~= owner.member then
    redis.call('ZREM', owner.holds, owner.member)
  end
end
for _, owner in ipairs(owners) do
  retention.keep(owner, given, now, KEYS[index], KEYS[index + 1])
end
return answer
