--[[
usage: reads counters without writing. Serves usage and can-use.

KEYS
  1…  per owner: account

ARGV
  see lib/proposal; none of its own

Replies, in order of precedence
  unknown | stale_configuration | stale_stamp | stale_user | stale_time    as in reserve
  reclaim, now                              too many expired holds to subtract while reading: reclaim first
  usage, now, free_at_ms, counters          as in reserve; of an allowed call with `fit` also the fitted value
]]

local p = proposal.read(1, 0)
if not p then
  return { 'unknown' }
end
local stale, now = facts.check(p)
if stale then
  return stale
end
local is_denied = false
for _, owner in ipairs(p.owners) do
  local due = {}
  if owner.next_expiry > 0 and owner.next_expiry <= now then
    local by_group, _, _, more = hold.due(owner.holds, now, hold.batch)
    if more then
      return { 'reclaim', now }
    end
    due = by_group
  end
  for _, group in ipairs(owner.groups) do
    local expired = due[group.id] and due[group.id][group.seq] or 0
    group.held = math.max(0, group.held - expired)
  end
  if owner.balances then
    for _, balance in ipairs(owner.balances) do
      credits.return_expired(owner, balance, due[balance.id] or {})
    end
    credits.plan(owner)
  end
  for _, group in ipairs(owner.groups) do
    group.over_limit = counter.is_over_limit(group)
    is_denied = is_denied or group.over_limit
    group.observed = group.observes and counter.exceeds(group, group.observes)
  end
end
local fitted = p.fit and not is_denied and fit.enlarge(p) or nil
return { 'usage', now, hold.free_at(p.owners, now), counter.states(p.owners, true), fitted }
