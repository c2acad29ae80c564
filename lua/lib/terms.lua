-- What is the same in every call under one plan, of each group of an owner: limit, quota and how it
-- is watched. A node sends all of it as one text, '<id> <limit> <quota|-> <flags> <percents|->;…'; flags: '-' and in flight
-- only (c), a denied call asks for approval (a), a denial is told (l). It is read once and then known by its text.
local terms = {
  -- The owner's own fields, which every call reads before those of its groups.
  own = { 'version', 'next_expiry', 'adjusted', 'forget_at', 'watched' },
  -- Groups that are known at a time, some 6 MB; beyond it all are read anew.
  most = 4000,
}

local known, count = {}, 0

local function read(text)
  local groups, has_alerts = {}, false
  for id, limit, quota, flags, percents in string.gmatch(text, '(%S+) (%d+) (%S+) (%S+) ([^;]+);') do
    local group = {
      id = id, limit_text = limit, limit = args.stored(limit), quota = quota ~= '-' and args.stored(quota),
      concurrent = string.find(flags, 'c', 1, true) ~= nil, approval = string.find(flags, 'a', 1, true) ~= nil,
      tell_limit = string.find(flags, 'l', 1, true) ~= nil, percents = percents ~= '-' and percents,
      names = names.of(id),
      -- Of the present call.
      window = false, amount_text = false, amount = 0, stored = false, serial = false, change = false, later_start = false,
      requoted = false, used = 0, held = 0, granted = 0, blocked = 0, grants = false, lacks = false,
    }
    groups[#groups + 1] = group
    has_alerts = has_alerts or group.percents
  end
  local fields = {}
  names.fields(terms.own, groups, fields)
  return { groups = groups, fields = fields, has_alerts = has_alerts, call = false }
end

-- Gives an owner its groups with what the terms say. Their tables are used again by every call, which fills them anew:
-- making them takes longer than deciding with them. Two owners of one call have each their own.
function terms.give(owner, text)
  local found = known[text]
  if not found or found.call == args.call then
    found = read(text)
    count = count + #found.groups
    if count > terms.most then
      known, count = {}, #found.groups
    end
    known[text] = found
  end
  found.call = args.call
  owner.groups, owner.fields, owner.has_alerts = found.groups, found.fields, found.has_alerts
  for place = 1, #found.groups do
    local group = found.groups[place]
    group.granted, group.blocked, group.grants, group.lacks = 0, 0, false, false
  end
end
