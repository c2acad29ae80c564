-- Counters of an owner: fields of its account, see lib/account. Closed windows move to the owner's `past` hash:
-- <group>.<sequence number> = '<used> <quota|->[!…] <kind>/<start>/<end> <granted> <keep until ms>'.
local counter = {
  -- A sum beyond it is refused before anything is written.
  most = args.most,
  past_windows = 12,
  -- Longest life of a reservation plus its grace: until then a late commit may settle in a closed window.
  past_open_ms = (24 * 60 + 15) * 60 * 1000,
}

-- The sequence number of a counter's first window, see lib/window; `expires`: whether its owner may expire.
function counter.first_seq(expires, now)
  return expires and args.digits(math.floor(now / 1000)) or '1'
end

-- Returns whether the clock is before a window that has begun.
function counter.read(owner, now)
  local behind, differs = false, false
  local values = chunked_hash.get(owner.key, owner.fields)
  account.parse(owner, values[1])
  if owner.limited then
    own_quota.apply(owner, now)
  end
  local first = counter.first_seq(owner.mortal, now)
  local groups = owner.groups
  for place = 1, #groups do
    local group, value = groups[place], values[place + 1]
    local used, held, stored, seq
    if value then
      used, held, stored, seq = account.counter(value)
      differs = differs or stored ~= group.window
    end
    group.stored, group.stored_seq = stored, seq
    group.seq, group.change, group.later_start, group.requoted = window.resolve(seq, stored, group.window, first)
    behind = behind or group.later_start
    if group.change == 'turned' then
      group.closed_used, group.closed_held = used, args.stored(held)
      group.used, group.held = 0, 0
    else
      group.used, group.held = args.stored(used), args.stored(held)
    end
  end
  if owner.adjusted then
    allowance.read(owner, now)
  end
  if differs then
    rollover.read(owner, now)
  end
  if owner.kept_balances then
    credits.read(owner, values, now)
  end
  return behind
end

-- The decision: does this call exceed `most`, the group's limit or the quota that it observes? Everything counts, including
-- holds. A limit of 0 denies every matching call, even with an amount of 0. Refunds are always allowed. What a balance takes
-- over does not count.
function counter.exceeds(group, most)
  local amount = group.amount - group.over
  if amount < 0 or (amount == 0 and group.over > 0) then
    return false
  end
  local counted = group.concurrent and group.held or group.used + group.held
  local limit = most + group.granted + group.rolled - group.blocked
  if limit > counter.most then
    limit = counter.most
  end
  return limit <= 0 or counted + amount > limit
end

-- Whether this call exceeds the group's limit, or what the group's credits come to.
function counter.is_over_limit(group)
  if group.is_balance then
    return credits.is_over_limit(group)
  end
  return counter.exceeds(group, group.limit)
end

-- The ledger's text about a group that a call has charged with `change` (text).
function counter.charge(group, change)
  local quota = group.window and string.match(group.window, '^%d+')
  local limit = quota and math.min(quota + group.granted + group.rolled, counter.most)
  local text = ledger.charge(group.id, group.seq, change, args.digits(group.used), limit and args.digits(limit) or '-')
  if group.closed then
    return text .. ':closed'
  end
  return limit and ledger.is_near(group.used, limit) and text .. ':' .. window.bounds(group.window) or text
end

-- The oldest stored closed window of a group.
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

-- Drops closed windows beyond the ring that no late commit can reach any more. Returns the number of the oldest window
-- that is left; `first`: the one so far, `last`: of the window that is about to be added. Between the sequence numbers of
-- two lives of a name there is a gap, in either direction.
local function trim(owner, group, first, last, now)
  if first > last then
    first = math.min(oldest(owner, group) or last, last)
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
      first = math.min(oldest(owner, group) or last, last)
    end
    dropped = dropped + 1
  end
  return first
end

-- Moves a counter's closing window to `past`. It is stored while a reservation with a hold in it may still be charged
-- or refunded: all of them began before the window ended, and before now. `group`: its id, and the window that closes:
-- stored, stored_seq, closed_used (text) and closed_held.
function counter.close(owner, group, now)
  local seq, stored, keep_until = group.stored_seq, group.stored, now + counter.past_open_ms
  if group.closed_held == 0 then
    local extended_until = args.stored(redis_call('HGET', owner.key, '.extended'))
    -- Without any reservation there is nothing to wait for.
    local last_begin = math.min(now, clock.parse(window.finish(stored)))
    keep_until = owner.longest_ttl > 0 and math.max(last_begin + owner.longest_ttl, extended_until) + clock.grace_ms or 0
  end
  local granted = owner.adjusted and allowance.granted_at_end(owner.key, group.id, seq, window.finish(stored)) or 0
  local first_field, last = group.id .. '.first', args.stored(match(seq, '%d+'))
  local known = redis_call('HGET', owner.past, first_field)
  local first = args.digits(trim(owner, group.id, args.stored(known or last), last, now))
  local field = group.id .. '.' .. seq
  local closed = group.closed_used .. ' ' .. stored .. ' ' .. args.digits(granted) .. ' ' .. args.digits(keep_until)
  if first == known then
    redis_call('HSET', owner.past, field, closed)
  else
    redis_call('HSET', owner.past, field, closed, first_field, first)
  end
  owner.has_closed = true
end

-- Fields of `past` of an owner that may expire are removed together with its counters, which are stored until no
-- reservation of it can settle any more.
function counter.leave_together(owner)
  local ttl = redis.call('PTTL', owner.key)
  if ttl ~= -1 then
    redis.call('PEXPIRE', owner.past, ttl > 0 and ttl or counter.past_open_ms)
  end
end

-- The changes of the present call, followed by leftovers of a longer one.
local changes = {}

-- Writes the groups' counters, and the account's own fields if they changed. `extra` are further fields and values.
function counter.write(owner, now, extra)
  local groups, count, rolls = owner.groups, #extra, nil
  for at = 1, count do
    changes[at] = extra[at]
  end
  count = account.append(owner, changes, count)
  if owner.balances then
    count = balances.append(owner, changes, count)
  end
  for at = 1, #groups do
    local group = groups[at]
    if not group.is_balance then
      changes[count + 1] = group.id
      changes[count + 2] = account.counter_text(group.used, group.held, group.window, group.seq)
      count = count + 2
    end
    if group.grants then
      changes[count + 1], changes[count + 2] = group.id .. '.grants', group.grants
      count = count + 2
    end
    if group.change == 'turned' then
      counter.close(owner, group, now)
      if group.roll then
        rolls = rolls or {}
        rolls[#rolls + 1] = rollover.charge(group, group.seq)
      end
    end
  end
  chunked_hash.set(owner.key, changes, count)
  if rolls then
    rollover.record(owner, rolls, now)
  end
  if owner.balances then
    balances.finish(owner, now)
  end
end

function counter.count(owners)
  local count = 0
  for at = 1, #owners do
    local owner = owners[at]
    count = count + #owner.groups
  end
  return count
end

-- The groups as the node proposed them, for a stored answer: '<id> <amount> <limit> <window> <quota|->,…'.
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

-- The state of a counter: '<used>+<held>', with '+<granted>+<blocked>' if there is any of them, and with '+<rolled>' behind
-- them if there is some. What else is said of it, see lib/own_quota, lib/balances and below.
function counter.state(group)
  if group.is_balance then
    return balances.state(group.balance)
  end
  local text, rolled = args.digits(group.used) .. '+' .. args.digits(group.held), group.rolled > 0
  if group.granted > 0 or group.blocked > 0 or rolled then
    text = text .. '+' .. args.digits(group.granted) .. '+' .. args.digits(group.blocked)
  end
  return rolled and text .. '+' .. args.digits(group.rolled) or text
end

-- The state of every group, separated by spaces; those over their limit with '!' if `marked`, those that would have denied
-- the call if they did not only observe with '?'.
function counter.states(owners, marked)
  local list = {}
  for at = 1, #owners do
    local owner = owners[at]
    local groups = owner.groups
    for place = 1, #groups do
      local group = groups[place]
      local over_limit = marked and group.over_limit
      list[#list + 1] = counter.state(group) .. own_quota.mark(owner, group.id) .. balances.mark(group, over_limit) .. (over_limit and '!' or '')
        .. (group.observed and '?' or '')
    end
  end
  return table.concat(list, ' ')
end
