--[[
release: gives back all that a reservation still holds. What draws have charged stays charged.

KEYS
  see lib/settle

ARGV
  1 to 4: see lib/settle; then nothing, or of a release by hand:
  audit: field count, then name and value each

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing, now                              no such reservation (any more)
  expired, now                              past its grace, or expired while it was held
  not_pending, now, status                  it was committed
  settled, now, status, late, replayed, about, memo, version of the first owner, crossed, entries    as in commit
]]

local answer = not ARGV[5] and straight_settle.settle(false)
if answer then
  return answer
end

local call, seen = settle.call()
if seen then
  return seen
end
local loaded, now = settle.load(call)
if not loaded then
  return now
end
if loaded.status == 'released' then
  return settle.replay(loaded, now, call.expiry_outbox)
end
if loaded.status ~= 'held' then
  return { 'not_pending', now, loaded.status }
end
if now >= loaded.expires_at then
  return { 'expired', now }
end
for at = 1, #loaded.owners do
  local owner = loaded.owners[at]
  settle.open(owner, now, call.expiry_outbox)
  for place = 1, #owner.entries do
    local entry = owner.entries[place]
    settle.free(owner, entry, entry.holds or 0)
    settle.charge(entry, 0)
  end
end
loaded.status = 'released'
for at = 1, #loaded.owners do
  local owner = loaded.owners[at]
  settle.write(owner, now, call)
  settle.let_go(owner)
end
ledger.append('release', now, false, loaded, call.details)
audit.write(keys.of(call.tag, 'audit'), ARGV[5] and audit.read() or {})
answer = settle.keep(call, loaded, now, settle.answer(loaded, now, 0, call.crossed))
for at = 1, #loaded.owners do
  local owner = loaded.owners[at]
  redis.call('ZREM', owner.holds, owner.member)
end
return answer
