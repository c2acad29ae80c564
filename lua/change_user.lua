--[[
change_user: writes what is true of a user (subscription, custom limits, block), moves the counters over to another
plan or anchor, starts windows anew; or confirms that nothing has to change.

KEYS
  1  stamp of the configuration in this bucket
  2  record of this operation
  3  test clock (read only in a sandbox)
  4  counters of the user
  5  holds of the user
  6  past of the user
  7  index of users
  8  users to be forgotten
  9  audit log
  10 outbox
  11 ledger

ARGV
  fingerprint ('-' without an idempotency key)
  facts: see lib/facts (forget_at '-')
  user
  fields to set: count, then name and value each
  fields to delete: count, then the names
  reset: '-' nothing, '*' every window, or the group whose window starts anew at 0
  groups of the plan moved to: count, then per group: id, window, action (carry | reset | block), quota
  audit: field count, then name and value each
  event: what is told in the outbox (JSON), or ''
  answer: what to tell again for the idempotency key

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  stale_configuration | stale_stamp | stale_user | stale_time    as in reserve
  changed, now, version, answer
]]

local fingerprint = args.text()
local seen = operation.seen(KEYS[2], fingerprint)
if seen then
  return seen
end

local given = facts.read()
local user = args.text()
local changes, gone = {}, {}
for place = 1, 2 * args.int() do
  changes[place] = args.text()
end
for place = 1, args.int() do
  gone[place] = args.text()
end
local reset = args.text()
local owner = { counters = KEYS[4], holds = KEYS[5], past = KEYS[6], groups = {}, version = false, next_expiry = 0 }
for place = 1, args.int() do
  local id = args.text()
  owner.groups[place] = { id = id, names = names.of(id), window = args.text(), action = args.text(), quota = args.int() }
end
owner.fields = {}
names.fields(terms.own, owner.groups, owner.fields)
local trail, event, told = audit.read(), args.text(), args.text()
local stale, now = facts.check(given, KEYS[1], KEYS[3], { owner })
if stale then
  return stale
end

local writes = #changes + #gone > 0
local counters, resets = {}, {}
local function set(name, value)
  counters[#counters + 1], counters[#counters + 2] = name, value
end

-- A new serial: what was used is past, what is held settles there.
local function start_anew(id, stored, used, held, bounds)
  local serial = window.after(string.match(stored, '^%S+'), false)
  counter.close(owner, id, stored, used, held, now)
  set(id .. '.window', serial .. ' ' .. bounds)
  set(id .. '.used', '0')
  set(id .. '.held', '0')
  return serial
end

-- The stored window was over before the change, so nothing of it is carried. The end of a campaign may still move.
local function is_over(stored)
  local kind, finish = string.match(stored, '^%S+ (%S+) %S+ (%S+)')
  return kind ~= 'fixed' and clock.parse(finish) <= now
end

-- Brings a group's counter into its window of the plan moved to.
local function move(group)
  if not group.stored and group.action ~= 'block' or window.is_concurrent(group.serial) then
    return
  end
  local over = group.change == 'moved' and is_over(group.stored)
  local used = group.used
  if group.change == 'turned' then
    start_anew(group.id, group.stored, group.closed_used, group.closed_held, group.window)
  elseif over or (group.action == 'reset' and group.change ~= 'new') then
    group.serial = start_anew(group.id, group.stored, group.used, group.held, group.window)
    used = 0
    if group.action == 'reset' then
      resets[#resets + 1] = ledger.charge(group.id, group.serial, '0', '0')
    end
  elseif group.change ~= 'same' or group.requoted then
    set(group.id .. '.window', group.serial .. ' ' .. group.window)
    if group.grants then
      set(group.id .. '.grants', group.grants)
    end
    if group.change == 'new' then
      set(group.id .. '.used', '0')
      set(group.id .. '.held', '0')
    end
  end
  -- Starting anew opens room again.
  if group.action == 'block' and reset == '-' then
    set(group.id .. '.blocked', group.serial .. ' ' .. args.digits(math.max(0, group.quota - used)))
    set('adjusted', '1')
  end
end

-- Starts the windows of one group, or of all, anew. Work in flight is not touched.
local function start_all_anew(wanted)
  local values = redis.call('HGETALL', owner.counters)
  local stored = {}
  for place = 1, #values, 2 do
    stored[values[place]] = values[place + 1]
  end
  for field, value in pairs(stored) do
    local id = string.match(field, '^(.+)%.window$')
    if id and (wanted == '*' or wanted == id) and not window.is_concurrent(value) then
      local held = args.stored(stored[id .. '.held'])
      local anew = start_anew(id, value, stored[id .. '.used'], held, string.match(value, '^%S+ (.*)$'))
      resets[#resets + 1] = ledger.charge(id, anew, '0', '0')
      -- This opens room and takes none away.
      if stored[id .. '.grants'] then
        local serial = string.match(value, '^%S+')
        set(id .. '.grants', allowance.with_serial(stored[id .. '.grants'], serial, anew))
      end
    end
  end
end

for _, group in ipairs(owner.groups) do
  move(group)
end
if reset ~= '-' then
  start_all_anew(reset)
  counter.leave_together(owner)
end
local version = given.version
if writes then
  local time = redis.call('TIME')
  version = args.digits(math.max(args.stored(version) + 1, time[1] * 1000000 + time[2]))
  set('version', version)
  for place = 1, #changes, 2 do
    set(changes[place], changes[place + 1])
  end
  redis.call('ZADD', KEYS[7], 0, user)
end
pieces.set(owner.counters, counters)
if #gone > 0 then
  redis.call('HDEL', owner.counters, unpack(gone))
end
if writes and given.version == '0' then
  redis.call('HDEL', owner.counters, 'forget_at')
  retention.stay(owner, user, KEYS[8])
end
if #resets > 0 then
  ledger.open(KEYS[11], given.ledger_most)
  ledger.add(owner.counters, resets)
  ledger.append('reset', now, false, '-', '- - ' .. string.match(owner.counters, '}:counters:user:(.*)$'), '', '')
end
audit.write(KEYS[9], trail)
if event ~= '' then
  outbox.tell(KEYS[10], 'subscription.changed', now, { 'json', event })
end
return operation.keep(KEYS[2], fingerprint, { 'changed', now, version, told })
