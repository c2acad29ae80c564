-- Own quotas: another quota for one owner instead of its groups' quota. A field of the account, only if needed; the
-- owner's `limited` says that there are some:
-- .quotas = '<group>:<quota|->:<most>:<until_ms|*>:<note>,…'; most: what a counter in the group's unit can
-- hold; the note is percent-encoded
-- The windows of such an owner's counters contain its own quota, so whatever follows from a stored window follows from
-- it: the overage of a closed window, alerts, and the limit in the ledger.
local own_quota = {}

local function is_live(until_ms, now)
  return until_ms == '*' or now < args.stored(until_ms)
end

-- The own quotas that have not ended, by group: { quota (text), most (text) }; nil without any.
local function read(key, now)
  local own
  for id, quota, most, until_ms in string.gmatch(redis.call('HGET', key, '.quotas') or '', '([^:,]+):([^:]+):(%d+):([^:]+):[^,]*') do
    if is_live(until_ms, now) then
      own = own or {}
      own[id] = { quota, most }
    end
  end
  return own
end

-- Reads the owner's own quotas into `own`, and gives groups with one copies that differ in what follows from the quota.
function own_quota.apply(owner, now)
  owner.own = read(owner.key, now)
  if not owner.own then
    return
  end
  local groups = {}
  for place = 1, #owner.groups do
    local group = owner.groups[place]
    local found = owner.own[group.id]
    if found then
      local quota = found[1] ~= '-' and args.stored(found[1])
      local copy = {}
      for name, value in pairs(group) do
        copy[name] = value
      end
      copy.quota = quota
      copy.window = found[1] .. string.match(group.window, '^[%d-]+(.*)$')
      copy.approval, copy.reports_limit = group.asks and quota ~= false, group.reports and quota ~= false
      copy.percents, copy.observes = quota and group.alerts, group.watches and quota
      if group.is_hard then
        copy.limit_text = quota and found[1] or found[2]
        copy.limit = args.stored(copy.limit_text)
      end
      owner.has_alerts = owner.has_alerts or copy.percents
      group = copy
    end
    groups[place] = group
  end
  owner.groups = groups
end

-- Reads them for the answer of a call on a reservation.
function own_quota.note(owner, now)
  owner.own = read(owner.key, now)
end

-- What the state of a counter says about it: '=<quota|->', or '' if the group's quota applies.
function own_quota.mark(owner, id)
  local found = owner.own and owner.own[id]
  return found and '=' .. found[1] or ''
end

-- The stored list without those that have ended and without the group's own, the latest end of the rest ('never' or ms,
-- nil without any), and whether the group had one.
function own_quota.without(key, id, now)
  local kept, last, had = {}, nil, false
  for item in string.gmatch(redis.call('HGET', key, '.quotas') or '', '[^,]+') do
    local group, until_ms = string.match(item, '^([^:]+):[^:]+:%d+:([^:]+):')
    if group == id then
      had = is_live(until_ms, now)
    elseif is_live(until_ms, now) then
      kept[#kept + 1] = item
      if until_ms == '*' or last == 'never' then
        last = 'never'
      else
        last = math.max(last or 0, args.stored(until_ms))
      end
    end
  end
  return kept, last, had
end
