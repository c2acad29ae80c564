--[[
extend: gives a live reservation more time, more amount (checked like a reserve), or both, or changes nothing.

KEYS
  1   record of the reservation
  2   record of this operation
  3…  per owner: account

ARGV
  see lib/proposal; its own
  5  created_at_ms (of the id)
  6  ttl_ms from now (0: no more time)
  7  changes: the number of changes that the amounts are based on ('-' without amounts; then no facts are checked)
  8  memo: the new memo ('' keeps the old one)

Replies, in order of precedence
  unknown                                   the program has to be defined
  replayed, record | reused                 see lib/operation
  missing, now                              no such reservation (any more)
  not_pending, now, status                  it was committed or released
  expired, now                              it has expired
  stale_reservation, now                    amounts were computed on an older state
  stale_configuration | stale_stamp | stale_user | stale_time | again | denied    as in reserve
  full, now                                 it would hold in more than 2048 windows
  extended, now, expires_at_ms, about, memo, counters    counters as in reserve
]]

local longest_life_ms = 24 * 60 * 60 * 1000
-- The maximum number of windows in which one reservation may hold: what settling it can read and write in one short
-- step.
local most_entries = 2048

local p = proposal.read(3, 4)
if not p then
  return { 'unknown' }
end
local operation_key = p.fingerprint ~= '-' and KEYS[2] or nil
local seen = operation_key and operation.seen(operation_key, p.fingerprint)
if seen then
  return seen
end
local created_at, ttl, changes, memo = ARGV[5], args.stored(ARGV[6]), ARGV[7], ARGV[8]
local owners = p.owners
local now = clock.now_ms(keys.of(p.tag, 'clock'), p.sandbox)
local loaded = record.load(KEYS[1], created_at)
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

-- Even if the amount rounds to nothing: the user may be blocked, or without a plan, by now.
if changes ~= '-' then
  local refused = { key = keys.of(p.tag, 'denials'), call = 'extend', about = loaded.about, memo = memo ~= '' and memo or loaded.memo }
  local refusal = admission.decide(p, refused)
  if refusal then
    return refusal[1] == 'denied' and operation_key and operation.keep(operation_key, p.fingerprint, refusal, owners) or refusal
  end
end

local function count_entries()
  local count = 0
  for _, owner in ipairs(loaded.owners) do
    count = count + #owner.entries
  end
  return count
end

for _, recorded in ipairs(loaded.owners) do
  for _, owner in ipairs(owners) do
    if recorded.key == owner.key then
      owner.is_recorded = true
      for _, group in ipairs(owner.groups) do
        if not group.is_balance then
          record.hold(recorded, group.id, group.seq, group.amount - group.over)
        end
        for _, part in ipairs((group.is_balance or group.over > 0) and credits.hold(group) or {}) do
          record.hold(recorded, part.id, part.name, part.amount)
        end
      end
    end
  end
end
if counter.count(owners) > 0 and count_entries() > most_entries then
  return { 'full', now }
end

local longest = args.stored(loaded.created_at) + longest_life_ms
loaded.expires_at = math.max(loaded.expires_at, ttl > 0 and math.min(now + ttl, longest) or 0)
-- Draws may be charged and refunded for longer now, also in closed windows.
local extended = {}
for _, owner in ipairs(loaded.owners) do
  owner.closed = settle.closed_until(owner, loaded.expires_at)
  if loaded.expires_at > args.stored(redis.call('HGET', owner.key, '.extended')) then
    extended[#extended + 1] = owner.key
  end
end
-- Before a window closes, since closing it depends on this.
for _, key in ipairs(extended) do
  redis.call('HSET', key, '.extended', args.digits(loaded.expires_at))
end
for _, owner in ipairs(loaded.owners) do
  if #owner.closed > 0 then
    chunked_hash.set(owner.past, owner.closed)
    counter.leave_together(owner)
  end
end
for _, owner in ipairs(owners) do
  -- A scope that was full at the reserve was left out.
  if owner.is_recorded then
    for _, group in ipairs(owner.groups) do
      group.held = group.held + group.amount - group.over
    end
    counter.write(owner, now, alert.watch(owner, {}))
  end
end
-- Even if the amount rounds to nothing: the next one is measured together with it.
if changes ~= '-' then
  loaded.changes = loaded.changes + 1
  loaded.memo = memo ~= '' and memo or loaded.memo
end
record.save(loaded, clock.ttl(loaded.expires_at - now + clock.grace_ms, p.sandbox))
local answer = { 'extended', now, loaded.expires_at, loaded.about, loaded.memo, counter.states(owners) }
if operation_key then
  operation.keep(operation_key, p.fingerprint, answer, owners)
end
for _, owner in ipairs(loaded.owners) do
  local member = record.member(loaded, owner)
  redis.call('ZADD', owner.holds, args.digits(loaded.expires_at), member)
  if member ~= owner.member then
    redis.call('ZREM', owner.holds, owner.member)
  end
end
for _, owner in ipairs(owners) do
  if owner.is_recorded then
    retention.keep(owner, p, now)
  end
end
return answer
