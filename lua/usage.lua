--[[
usage: what counters stand at, without a write. Serves usage and can-use.

KEYS
  1   stamp of the configuration in this bucket
  2   test clock (read only in a sandbox)
  3…  per owner: counters, holds, past, and unless it is a user the index of its scope

ARGV
  facts: see lib/facts
  owners: see lib/counter

Replies, in order of precedence
  stale_configuration | stale_stamp | stale_user | stale_time    as in reserve
  reclaim, now                              too many expired holds to subtract on the fly: reclaim first
  usage, now, free_at_ms (as in reserve), then per group: used, held, granted, blocked, lacks (0|1)
]]

local given = facts.read()
local owners = counter.owners(3)
local stale, now = facts.check(given, KEYS[1], KEYS[2], owners)
if stale then
  return stale
end
local answer = { 'usage', now, 0 }
for _, owner in ipairs(owners) do
  local due = {}
  if owner.next_expiry > 0 and owner.next_expiry <= now then
    local by_group, _, _, more = hold.due(owner.holds, now, hold.batch)
    if more then
      return { 'reclaim', now }
    end
    due = by_group
  end
  for _, group in ipairs(owner.groups) do
    local expired = due[group.id] and due[group.id][group.serial] or 0
    group.held = math.max(0, group.held - expired)
    local count = #answer
    counter.stand(answer, count, group)
    group.lacks = counter.lacks(group)
    answer[count + 5] = group.lacks and 1 or 0
  end
end
answer[3] = hold.free_at(owners, now)
return answer
