-- Alerts: `used` passes a percentage of what a counter may use. Each is told once per counter, window and limit, upward
-- only. Fields of the counters hash, there only when needed; the owner's `watched` says that any of its groups has some:
--   <group>.alerts = '<quota> <percent>,…|- <serial> <limit> <highest percent told>': as the last admission configured it;
--     '-' once the group has no alerts any more (what was told is told once, also if they come back)
--   <group>.reached = '<serial> <limit>': the last denial that was told
local alert = {}

-- The smallest `used` that is `percent` of `limit`, exact for all limits.
local function threshold(percent, limit)
  local rest = limit % 100
  return percent * ((limit - rest) / 100) + math.ceil(percent * rest / 100)
end

local function highest_passed(percents, limit, used)
  local highest = 0
  for percent in string.gmatch(percents, '%d+') do
    if used >= threshold(args.stored(percent), limit) then
      highest = args.stored(percent)
    end
  end
  return highest
end

local function parse(stored)
  local quota, percents, serial, limit, told = string.match(stored or '', '^(%d+) (%S+) (%S+) (%d+) (%d+)$')
  if not quota then
    return nil
  end
  return { quota = args.stored(quota), percents = percents, serial = serial, limit = args.stored(limit), told = args.stored(told) }
end

local function format(state)
  return args.digits(state.quota) .. ' ' .. state.percents .. ' ' .. state.serial .. ' ' .. args.digits(state.limit)
    .. ' ' .. args.digits(state.told)
end

-- The state under the present window and limit. What `used` has passed under another limit is not told under this one.
local function brought_up(state, serial, granted, used)
  local limit = state.quota + granted
  if state.serial ~= serial then
    state.told = 0
  elseif state.limit ~= limit then
    state.told = limit > 0 and highest_passed(state.percents, limit, used) or 0
  end
  state.serial, state.limit = serial, limit
  return state
end

-- Keeps how the owner's groups are watched where that has changed: fields and values for the counters hash. Groups
-- that have no alerts any more tell nothing from now on.
function alert.watch(owner, changes)
  if #owner.groups == 0 or not (owner.has_alerts or owner.watched) then
    return changes
  end
  local fields = {}
  for place, group in ipairs(owner.groups) do
    fields[place] = group.id .. '.alerts'
  end
  local values = pieces.get(owner.counters, fields)
  for place, group in ipairs(owner.groups) do
    local state, text = parse(values[place]), values[place]
    if group.percents then
      state = state or { told = 0, serial = '' }
      state.quota, state.percents = group.quota, group.percents
      text = format(brought_up(state, group.serial, group.granted, group.used))
    elseif state then
      state.percents = '-'
      text = format(state)
    end
    if text ~= values[place] then
      changes[#changes + 1], changes[#changes + 2] = fields[place], text
      changes[#changes + 1], changes[#changes + 2] = 'watched', '1'
    end
  end
  return changes
end

-- Tells what the accounts of one owner pass: each has id, serial, bounds, granted, before (used until now) and used.
-- Answers '<group>:<percent>' of each; fields to keep are added to `changes`.
function alert.charge(owner, accounts, now, outbox_key, changes, passed)
  if #accounts == 0 then
    return
  end
  local fields = {}
  for place, account in ipairs(accounts) do
    fields[place] = account.id .. '.alerts'
  end
  local values = pieces.get(owner.counters, fields)
  for place, account in ipairs(accounts) do
    local state = parse(values[place])
    if state and state.percents ~= '-' and account.used > account.before then
      state = brought_up(state, account.serial, account.granted, account.before)
      for text in string.gmatch(state.limit > 0 and state.percents or '', '%d+') do
        local percent = args.stored(text)
        if percent > state.told and account.used >= threshold(percent, state.limit) then
          state.told = percent
          passed[#passed + 1] = account.id .. ':' .. text
          outbox.tell(outbox_key, 'threshold.reached', now, {
            'owner', owner.counters, 'group', account.id, 'window', window.bounds(account.bounds), 'percent', text,
            'used', args.digits(account.used), 'held', args.digits(account.held),
            'quota', args.digits(state.quota), 'granted', args.digits(account.granted),
          })
        end
      end
      local kept = format(state)
      if kept ~= values[place] then
        changes[#changes + 1], changes[#changes + 2] = fields[place], kept
      end
    end
  end
end

-- A counter without room: told once per window and limit, if somebody listens. A window of which nothing is kept yet
-- leaves no state, so it is not told.
function alert.denied(owner, group, now, outbox_key)
  local stored = group.change == 'same' or group.change == 'moved'
  if not group.tell_limit or not stored then
    return
  end
  local field, state = group.id .. '.reached', group.serial .. ' ' .. args.digits(group.quota + group.granted)
  if redis.call('HGET', owner.counters, field) == state then
    return
  end
  redis.call('HSET', owner.counters, field, state)
  outbox.tell(outbox_key, 'limit.reached', now, {
    'owner', owner.counters, 'group', group.id, 'window', window.bounds(group.window), 'percent', '100',
    'used', args.digits(group.used), 'held', args.digits(group.held),
    'quota', args.digits(group.quota), 'granted', args.digits(group.granted),
  })
end
