--[[
migrate: converts keys of layout 6 to the present layout (lib/layout6), each in one step. It skips keys that
are converted or deleted, so it can be called again at any time.

KEYS
  1…  keys of one kind and one slot; of approvals and grants one

ARGV
  kind: counters | past | op | approvals | grants | stamp
  1: count only, change nothing
  cursor in the hash of approvals or grants, which is done in pages: 0 at first

Replies
  migrated, count, cursor, then per fault: what it is, key
  count: converted keys, or converted entries of approvals and grants; cursor: '0' at the end
  faults: unreadable (the key stays as it is) | stray (counters of an owner that has an account; they are deleted)
]]

local page = 100

local kind, is_dry, cursor = args.text(), args.int() == 1, args.text()
local count, faults = 0, {}

local function fault(what, key)
  faults[#faults + 1], faults[#faults + 2] = what, key
end

-- When the last of the owner's reservations expires that may still be charged or refunded, otherwise 0. `last_expiry`
-- covers those that were settled or have expired, the holds cover the others.
local function chargeable_until(stored, holds)
  local last = redis.call('ZRANGE', holds, -1, -1, 'WITHSCORES')
  local until_ms = math.max(args.stored(stored.last_expiry), args.stored(last[2]))
  return until_ms + clock.grace_ms > clock.now_ms(keys.of(keys.tag(holds), 'clock'), 1) and until_ms or 0
end

-- A user's state.
local function add_facts(stored, set)
  if stored.plan then
    set('.plan', layout6.subscription(stored))
  end
  if stored.limits then
    set('.limits', stored.limits)
  end
  if stored.block then
    set('.block', stored.block)
  end
end

-- Names and values of an account, or nil if a counter cannot be read.
local function account_of(values, holds)
  local stored, anew = {}, {}
  for place = 1, #values, 2 do
    stored[values[place]] = values[place + 1]
  end
  local function set(name, value)
    anew[#anew + 1], anew[#anew + 2] = name, value
  end
  local until_ms = chargeable_until(stored, holds)
  -- Layout 6 does not store the longest lifetime of a reservation. So all count as extended until the last one expires.
  local owner = {
    version = stored.version or '0', next_expiry = args.stored(stored.next_expiry), longest_ttl = until_ms > 0 and 1 or 0,
    forget_at = stored.forget_at or false, adjusted = stored.adjusted and true, watched = stored.watched and true, stored = false,
  }
  account.append(owner, anew, 0)
  add_facts(stored, set)
  if until_ms > 0 then
    set('.extended', args.digits(until_ms))
  end
  for place = 1, #values, 2 do
    local id, field = string.match(values[place], '^(.+)%.(%a+)$')
    local value = values[place + 1]
    if field == 'window' then
      value = layout6.counter(value, stored[id .. '.used'], stored[id .. '.held'])
      id = value and id
    elseif field == 'approval' then
      value = layout6.approval_mark(value)
      id = value and id .. '.approval'
    else
      local is_same = field == 'grants' or field == 'blocked' or field == 'alerts' or field == 'reached'
      id, value = values[place], is_same and value or false
    end
    if value == nil then
      return nil
    end
    if value then
      set(id, value)
    end
  end
  return anew
end

local migrations = {}

function migrations.counters(key)
  local tag = keys.tag(key)
  local word = string.sub(key, #tag + #'counters:' + 1)
  local target, values = keys.account(tag, word), redis.call('HGETALL', key)
  if #values == 0 then
    return
  end
  local anew = account_of(values, keys.holds(tag, word))
  if not anew then
    return fault('unreadable', key)
  end
  count = count + 1
  if is_dry then
    return
  end
  if redis.call('EXISTS', target) == 1 then
    fault('stray', key)
  else
    local left = redis.call('PTTL', key)
    chunked_hash.set(target, anew)
    if left >= 0 then
      redis.call('PEXPIRE', target, left)
    end
  end
  redis.call('DEL', key)
end

-- Converts the values of a hash. `convert` returns the new value of a field, or nil if it cannot be read.
local function fields(key, values, convert)
  local changes, is_readable = {}, true
  for place = 1, #values, 2 do
    local field, value = values[place], values[place + 1]
    local anew = convert(field, value)
    is_readable = is_readable and anew ~= nil
    if anew and anew ~= value then
      changes[#changes + 1], changes[#changes + 2] = field, anew
    end
  end
  if not is_readable then
    fault('unreadable', key)
  end
  if #changes > 0 and not is_dry then
    chunked_hash.set(key, changes)
  end
  return #changes / 2
end

function migrations.past(key)
  local changed = fields(key, redis.call('HGETALL', key), function(field, value)
    if string.find(field, '%.first$') then
      return value
    end
    return layout6.closed(value)
  end)
  count = count + math.min(changed, 1)
end

function migrations.op(key)
  local found = layout6.operation(key, is_dry)
  if found == 'unreadable' then
    fault(found, key)
  elseif found == 'converted' then
    count = count + 1
  end
end

local function in_pages(key, convert)
  local found = redis.call('HSCAN', key, cursor, 'COUNT', page)
  cursor = found[1]
  count = count + fields(key, found[2], convert)
end

function migrations.approvals(key)
  in_pages(key, layout6.approval)
end

function migrations.grants(key)
  in_pages(key, function(_, value)
    return layout6.grant(value)
  end)
end

function migrations.stamp(key)
  if not is_dry then
    redis.call('DEL', key)
  end
end

for _, key in ipairs(KEYS) do
  migrations[kind](key)
end
return { 'migrated', count, cursor, unpack(faults) }
