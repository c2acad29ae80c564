-- Alerts: `used` reaches a percentage of the limit. Each is emitted once per counter, window and limit, upward only.
-- Fields of the account, only if needed; the owner's `watched` says that any of its groups has some:
-- <group>.alerts = '<quota> <percent>,…|- <seq> <limit> <highest percent reported>', from the last admission;
-- '-' if the group has no alerts any more (what was reported stays recorded, in case they come back)
-- <group>.reached = '<seq> <limit>': the last denial that was reported
local alert = {}

-- The smallest `used` that is `percent` of `limit`, exact for all limits.
local function threshold(percent, limit)
  local rest = limit % 100
  return percent * ((limit - rest) / 100) + math.ceil(percent * rest / 100)
end

local function highest_crossed(percents, limit, used)
  local highest = 0
  for percent in string.gmatch(percents, '%d+') do
    if used >= threshold(args.stored(percent), limit) then
      highest = args.stored(percent)
    end
  end
  return highest
end

local function parse(stored)
  local quota, percents, seq, limit, reported = string.match(stored or '', '^(%d+) (%S+) (%S+) (%d+) (%d+)$')
  if not quota then
    return nil
  end
  return { quota = args.stored(quota), percents = percents, seq = seq, limit = args.stored(limit), reported = args.stored(reported) }
end

local function format(state)
  return args.digits(state.quota) .. ' ' .. state.percents .. ' ' .. state.seq .. ' ' .. args.digits(state.limit)
    .. ' ' .. args.digits(state.reported)
end

-- The state for the present window and limit. Percentages that `used` reached with another limit are not reported
-- again. `extra`: what is granted and rolled over.
local function brought_up(state, seq, extra, used)
  local limit = state.quota + extra
  if state.seq ~= seq then
    state.reported = 0
  elseif state.limit ~= limit then
    state.reported = limit > 0 and highest_crossed(state.percents, limit, used) or 0
  end
  state.seq, state.limit = seq, limit
  return state
end

-- What the outbox receives: names and values.
local function report(owner, counted, quota, percent)
  local fields = {
    'owner', owner.key, 'group', counted.id, 'window', window.bounds(counted.window), 'percent', percent,
    'used', args.digits(counted.used), 'held', args.digits(counted.held),
    'quota', args.digits(quota), 'granted', args.digits(counted.granted),
  }
  if counted.rolled > 0 then
    fields[#fields + 1], fields[#fields + 2] = 'rolled', args.digits(counted.rolled)
  end
  return fields
end

-- Stores the groups' alerts if they have changed: fields and values for the account. Groups without alerts no longer
-- report any.
function alert.watch(owner, changes)
  if #owner.groups == 0 or not (owner.has_alerts or owner.watched) then
    return changes
  end
  local fields = {}
  for place, group in ipairs(owner.groups) do
    fields[place] = group.id .. '.alerts'
  end
  local values = pieces.get(owner.key, fields)
  for place, group in ipairs(owner.groups) do
    local state, text = parse(values[place]), values[place]
    if group.percents then
      state = state or { reported = 0, seq = '' }
      state.quota, state.percents = group.quota, group.percents
      text = format(brought_up(state, group.seq, group.granted + group.rolled, group.used))
    elseif state then
      state.percents = '-'
      text = format(state)
    end
    if text ~= values[place] then
      changes[#changes + 1], changes[#changes + 2] = fields[place], text
      owner.watched = true
    end
  end
  return changes
end

-- Reports the alerts that the counters of one owner reach. Each counter has id, seq, bounds, granted, rolled, before
-- (previous `used`) and used. Fields to store are added to `changes`. `call`: outbox, where they are reported; crossed, a
-- list to which '<group>:<percent>' is added for each.
function alert.charge(owner, counters, now, changes, call)
  if #counters == 0 then
    return
  end
  local fields = {}
  for place, counted in ipairs(counters) do
    fields[place] = counted.id .. '.alerts'
  end
  local values = pieces.get(owner.key, fields)
  for place, counted in ipairs(counters) do
    local state = parse(values[place])
    if state and state.percents ~= '-' and counted.used > counted.before then
      state = brought_up(state, counted.seq, counted.granted + counted.rolled, counted.before)
      for text in string.gmatch(state.limit > 0 and state.percents or '', '%d+') do
        local percent = args.stored(text)
        if percent > state.reported and counted.used >= threshold(percent, state.limit) then
          state.reported = percent
          call.crossed[#call.crossed + 1] = counted.id .. ':' .. text
          outbox.add(call.outbox, 'threshold.reached', now, report(owner, counted, state.quota, text))
        end
      end
      local kept = format(state)
      if kept ~= values[place] then
        changes[#changes + 1], changes[#changes + 2] = fields[place], kept
      end
    end
  end
end

-- Reports a counter over its limit, once per window and limit, if a webhook subscribes. A window that is not stored yet
-- has no state, so it is not reported.
function alert.denied(owner, group, now, outbox_key)
  local stored = group.change == 'same' or group.change == 'moved'
  if not group.tell_limit or not stored then
    return
  end
  local field, state = group.id .. '.reached', group.seq .. ' ' .. args.digits(group.quota + group.granted + group.rolled)
  if redis.call('HGET', owner.key, field) == state then
    return
  end
  redis.call('HSET', owner.key, field, state)
  local fields = report(owner, group, group.quota, '100')
  if group.blocked > 0 then
    fields[#fields + 1], fields[#fields + 2] = 'blocked', args.digits(group.blocked)
  end
  outbox.add(outbox_key, 'limit.reached', now, fields)
end
