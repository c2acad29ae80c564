-- Counters of an owner: one hash with the fields <group>.window, .used and .held for each group,
-- and of the owner itself `version` (of what is true of a user), `next_expiry` (no hold expires before it, ms) and
-- `last_expiry` (the latest of the reservations that were settled or drawn on, or expired, ms). See also lib/allowance,
-- lib/alert, lib/approval and lib/retention.
-- Closed windows move to the owner's `past` hash:
-- <group>.<serial> = '<used> <kind> <start> <end> <quota|-> <granted> <keep until ms>'.
local counter = {
  -- Largest integer that a Lua number holds exactly; a sum beyond it is refused before anything is written.
  most = 9007199254740991,
  past_windows = 12,
  -- Longest life of a reservation plus its grace: until then a late commit may settle in a closed window.
  past_open_ms = (24 * 60 + 15) * 60 * 1000,
}

-- Owners and their groups from KEYS (three per owner from `first_key`, and its index unless the owner is a user) and
-- ARGV: owner count, then per owner `renew` ('-' for a user | 'never' | ms, see lib/retention), unless it is '-' the
-- owner's name in its index and how many names that may have; the groups' terms (see lib/terms), then per group its window
-- and amount. Answers the owners and the place of the first key behind theirs.
function counter.owners(first_key)
  local owners, key = {}, first_key
  for index = 1, args.int() do
    local renew = args.text()
    local owner = { counters = KEYS[key], holds = KEYS[key + 1], past = KEYS[key + 2], groups = false, fields = false,
      renew = renew, version = false, adjusted = false, forget_at = false, watched = false, next_expiry = 0, crowded = false,
      has_alerts = false }
    key = key + 3
    if renew ~= '-' then
      owner.index, owner.name, owner.most = KEYS[key], args.text(), args.int()
      owner.mortal = renew ~= 'never'
      key = key + 1
    end
    terms.give(owner, args.text())
    local groups = owner.groups
    local at = args.skip(2 * #groups)
    for place = 1, #groups do
      local group, amount = groups[place], ARGV[at + 1]
      group.window, group.amount_text, group.amount = ARGV[at], amount, args.stored(amount)
      at = at + 2
    end
    owners[index] = owner
  end
  return owners, key
end

-- Answers whether the clock stands before a window that has begun.
function counter.read(owner, now)
  local behind = false
  local values = pieces.get(owner.counters, owner.fields)
  owner.version, owner.adjusted, owner.forget_at, owner.watched = values[1], values[3], values[4], values[5]
  owner.next_expiry = args.stored(values[2])
  local first = owner.mortal and args.digits(math.floor(now / 1000)) or '1'
  local groups, at = owner.groups, #terms.own
  for place = 1, #groups do
    local group = groups[place]
    local stored, used, held = values[at + 1], values[at + 2], args.stored(values[at + 3])
    at = at + 3
    group.stored = stored
    group.serial, group.change, group.later_start, group.requoted = window.resolve(stored, group.window, first)
    behind = behind or group.later_start
    if group.change == 'turned' then
      group.closed_used, group.closed_held = used, held
      group.used, group.held = 0, 0
    else
      group.used, group.held = args.stored(used), held
    end
  end
  if owner.adjusted then
    allowance.read(owner, now)
  end
  return behind
end

-- The decision: does this call pass the limit? Everything that is counted counts, also what is held.
-- A limit of 0 refuses whatever matches, even an amount of 0. What is given back always fits.
function counter.lacks(group)
  if group.amount < 0 then
    return false
  end
  local counted = group.concurrent and group.held or group.used + group.held
  local limit = group.limit + group.granted - group.blocked
  if limit > counter.most then
    limit = counter.most
  end
  return limit <= 0 or counted + group.amount > limit
end

-- The oldest closed window of a group that is kept.
local function oldest(owner, group)
  local found
  for _, field in ipairs(redis.call('HKEYS', owner.past)) do
    local of, number = string.match(field, '^(.+)%.(%d+)$')
    if of == group and not (found and found <= args.stored(number)) then
      found = args.stored(number)
    end
  end
  return found
end

-- Drops closed windows beyond the ring that no late commit can reach any more. Between the numbers of two lives of a name
-- there is a gap, in either direction.
local function trim(owner, group, last, now)
  local first_field = group .. '.first'
  local first = args.stored(redis.call('HGET', owner.past, first_field) or last)
  if first > last then
    first = oldest(owner, group) or last
  end
  local dropped = 0
  while last - first >= counter.past_windows and dropped < 4 do
    local field = group .. '.' .. args.digits(first)
    local entry = redis.call('HGET', owner.past, field)
    if entry and args.stored(string.match(entry, '(%d+)$')) > now then
      break
    end
    if entry then
      redis.call('HDEL', owner.past, field)
      first = first + 1
    else
      first = oldest(owner, group) or last
    end
    dropped = dropped + 1
  end
  redis.call('HSET', owner.past, first_field, first)
end

-- Moves a counter's closing window to `past`; it stays there while a hold of it may still settle. If nothing is held,
-- all reservations that held in it have been settled or have expired, and `last_expiry` knows of them.
function counter.close(owner, group, stored, used, held, now)
  local serial, rest = string.match(stored, '^(%S+) (.*)$')
  local last_expiry = args.stored(redis.call('HGET', owner.counters, 'last_expiry'))
  local keep_until = (held > 0 and now + counter.past_open_ms) or last_expiry + clock.grace_ms
  local granted = owner.adjusted and allowance.granted_at_end(owner.counters, group, serial, window.finish(stored)) or 0
  local entry = (used or '0') .. ' ' .. rest .. ' ' .. args.digits(granted) .. ' ' .. args.digits(keep_until)
  redis.call('HSET', owner.past, group .. '.' .. serial, entry)
  owner.has_closed = true
  trim(owner, group, args.stored(string.match(serial, '%d+')), now)
end

-- What is written to `past` of an owner that is to be forgotten goes when the counters go: they are kept until whatever
-- reservation it made can settle no more.
function counter.leave_together(owner)
  local ttl = redis.call('PTTL', owner.counters)
  if ttl ~= -1 then
    redis.call('PEXPIRE', owner.past, ttl > 0 and ttl or counter.past_open_ms)
  end
end

-- What the present call changes, and behind it what a longer one has left.
local changes = {}

-- Writes the groups' windows where they changed, and one field of amounts (`used` or `held`).
-- `extra` are further fields and values of the same hash.
function counter.write(owner, name, now, extra)
  local groups, count = owner.groups, #extra
  for at = 1, count do
    changes[at] = extra[at]
  end
  for at = 1, #groups do
    local group = groups[at]
    changes[count + 1], changes[count + 2] = group.names[name], args.digits(group[name])
    count = count + 2
    if group.change ~= 'same' or group.requoted then
      changes[count + 1], changes[count + 2] = group.names.window, group.serial .. ' ' .. group.window
      count = count + 2
      if group.change == 'new' or group.change == 'turned' then
        changes[count + 1], changes[count + 2] = group.names[name == 'held' and 'used' or 'held'], '0'
        count = count + 2
      end
    end
    if group.grants then
      changes[count + 1], changes[count + 2] = group.id .. '.grants', group.grants
      count = count + 2
    end
    if group.change == 'turned' then
      counter.close(owner, group.id, group.stored, group.closed_used, group.closed_held, now)
    end
  end
  pieces.set(owner.counters, changes, count)
end

function counter.count(owners)
  local count = 0
  for at = 1, #owners do
    local owner = owners[at]
    count = count + #owner.groups
  end
  return count
end

-- The groups as the node proposed them, for an answer that is kept: '<id> <amount> <limit> <window> <quota|->,…'.
function counter.describe(owners)
  local groups = {}
  for at = 1, #owners do
    local owner = owners[at]
    for place = 1, #owner.groups do
      local group = owner.groups[place]
      groups[#groups + 1] = group.id .. ' ' .. group.amount_text .. ' ' .. group.limit_text .. ' ' .. group.window
    end
  end
  return table.concat(groups, ',')
end

-- Puts behind the first `count` of an answer what a group stands at: used, held, granted, blocked.
function counter.stand(answer, count, group)
  answer[count + 1], answer[count + 2] = group.used, group.held
  answer[count + 3], answer[count + 4] = group.granted, group.blocked
end

-- Appends what every group stands at, in the order of ARGV.
function counter.reply(answer, owners)
  local count = #answer
  for at = 1, #owners do
    local owner = owners[at]
    for place = 1, #owner.groups do
      counter.stand(answer, count, owner.groups[place])
      count = count + 4
    end
  end
  return answer
end
