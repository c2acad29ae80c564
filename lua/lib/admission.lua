-- Deciding over all owners at once, and placing the holds.
local admission = {}

-- Checks the facts, takes expired holds, and looks for room in every group.
-- Answers a reply that ends the call, or nil, the time and how many holds were reclaimed.
function admission.decide(given, verdict, owners)
  local stale, now, stamp = facts.check(given, KEYS[1], KEYS[3], owners)
  if stale then
    return stale
  end
  facts.raise_stamp(given, KEYS[1], stamp)
  local reclaimed, more = facts.reclaim(owners, now)
  local denied = verdict ~= ''
  for _, owner in ipairs(owners) do
    for _, group in ipairs(owner.groups) do
      group.lacks = counter.lacks(group)
      denied = denied or group.lacks
    end
  end
  if not denied then
    return nil, now, reclaimed
  end
  if more and verdict == '' then
    return { 'again', now, reclaimed }
  end
  local answer = { 'denied', now, reclaimed, verdict, hold.free_at(owners, now), counter.count(owners) }
  for _, owner in ipairs(owners) do
    for _, group in ipairs(owner.groups) do
      counter.stand(answer, group)
      answer[#answer + 1] = group.lacks and 1 or 0
    end
  end
  return answer
end

-- Adds the groups' amounts to `held` and one member to the holds.
-- Answers the owner's line of a reservation record: '<counters> <holds> <past> <held entries> <charged entries>'.
function admission.place(owner, name, subject, now, expires_at)
  local entries = {}
  for place, group in ipairs(owner.groups) do
    group.held = group.held + group.amount
    entries[place] = group.id .. ':' .. group.serial .. ':' .. group.amount_text
  end
  local list = table.concat(entries, ',')
  local extra = {}
  if owner.next_expiry == 0 or args.stored(expires_at) < owner.next_expiry then
    extra = { 'next_expiry', expires_at }
  end
  counter.write(owner, 'held', now, extra)
  redis.call('ZADD', owner.holds, expires_at, name .. ' ' .. list .. ' ' .. subject)
  return owner.counters .. ' ' .. owner.holds .. ' ' .. owner.past .. ' ' .. list .. ' -'
end
