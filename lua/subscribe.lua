#!lua
--[[
subscribe: writes a user's subscription, or confirms that nothing has to change.

KEYS
  1  stamp of the configuration in this bucket
  2  record of this operation
  3  test clock (read only in a sandbox)
  4  counters of the user
  5  holds of the user
  6  past of the user
  7  index of users

ARGV
  fingerprint ('-' without an idempotency key)
  facts: sandbox, revision, subscription version, valid_from_ms, valid_until_ms
  user
  write (0|1), plan, since, cycle ('' none), until ('' none)
  reset (0|1): every window starts anew at 0
  answer: what to tell again for the idempotency key

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  stale_configuration | stale_subscription | stale_time    as in reserve
  subscribed, now, version, answer
]]
--- @include "lib/args"
--- @include "lib/clock"
--- @include "lib/window"
--- @include "lib/hold"
--- @include "lib/counter"
--- @include "lib/facts"
--- @include "lib/operation"

local fingerprint = args.text()
local seen = operation.seen(KEYS[2], fingerprint)
if seen then
  return seen
end

local given = facts.read()
local user, write, plan, since, cycle, finish, reset, told =
  args.text(), args.int() == 1, args.text(), args.text(), args.text(), args.text(), args.int() == 1, args.text()
local owner = { counters = KEYS[4], holds = KEYS[5], past = KEYS[6], groups = {} }
local stale, now, stamp = facts.check(given, KEYS[1], KEYS[3], { owner })
if stale then
  return stale
end
facts.raise_stamp(given, KEYS[1], stamp)

-- A new serial for every counter: what was used is past, what is held settles there. Work in flight is not touched.
local function reset_counters(changes)
  local values = redis.call('HGETALL', owner.counters)
  local stored = {}
  for place = 1, #values, 2 do
    stored[values[place]] = values[place + 1]
  end
  for field, value in pairs(stored) do
    local group = string.match(field, '^(.+)%.window$')
    local serial, bounds = string.match(value, '^(%S+) (.*)$')
    if group and not window.is_concurrent(serial) then
      counter.close(owner, group, value, stored[group .. '.used'], args.stored(stored[group .. '.held']), now)
      local count = #changes
      changes[count + 1], changes[count + 2] = field, window.after(serial, false) .. ' ' .. bounds
      changes[count + 3], changes[count + 4] = group .. '.used', '0'
      changes[count + 5], changes[count + 6] = group .. '.held', '0'
    end
  end
end

local version = given.version
if write then
  local time = redis.call('TIME')
  version = args.digits(math.max(args.stored(version) + 1, time[1] * 1000000 + time[2]))
  local changes = { 'plan', plan, 'since', since, 'version', version }
  local gone = {}
  for name, value in pairs({ cycle = cycle, ['until'] = finish }) do
    if value == '' then
      gone[#gone + 1] = name
    else
      changes[#changes + 1], changes[#changes + 2] = name, value
    end
  end
  if reset then
    reset_counters(changes)
  end
  redis.call('HSET', owner.counters, unpack(changes))
  if #gone > 0 then
    redis.call('HDEL', owner.counters, unpack(gone))
  end
  redis.call('ZADD', KEYS[7], 0, user)
end
return operation.keep(KEYS[2], fingerprint, { 'subscribed', now, version, told })
