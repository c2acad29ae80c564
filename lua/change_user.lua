--[[
change_user: writes a user's state (subscription, custom limits, block), moves the counters to another plan or
anchor, resets windows; or confirms that nothing has to change.

KEYS
  1  stamp of the configuration in this bucket
  2  record of this operation
  3  test clock (read only in a sandbox)
  4  account of the user
  5  holds of the user
  6  past of the user
  7  index of users
  8  users on the default plan, by expiry
  9  audit log
  10 outbox
  11 ledger
  12 display names and tags, by user

ARGV
  fingerprint ('-' without an idempotency key)
  facts: see lib/facts
  user
  fields to set: count, then name and value each
  fields to delete: count, then the names
  reset: '-' nothing, '*' every window, or the group whose window is reset to 0
  groups of the new plan: count, then per group: id, window, action (carry | reset | block), quota, how much is rolled over
    at most (0: nothing)
  audit: field count, then name and value each
  event: what the outbox receives (JSON), or ''
  answer: stored for the idempotency key
  display name and tags (JSON); '' none, '-' as they are

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

local p = facts.read(KEYS[1])
local user = args.text()
local changes, gone = {}, {}
for place = 1, 2 * args.int() do
  changes[place] = args.text()
end
for place = 1, args.int() do
  gone[place] = args.text()
end
local reset = args.text()
local owner = { key = KEYS[4], holds = KEYS[5], past = KEYS[6], groups = {}, fields = { '.account' }, stored = false }
for place = 1, args.int() do
  local group = { id = args.text(), window = args.text(), action = args.text(), quota = args.int(), rollover = args.int(), rolled = 0, roll = false }
  group.rollover = group.rollover > 0 and group.rollover
  owner.groups[place], owner.fields[place + 1] = group, group.id
end
local audit_entry, event, answer, profile = audit.read(), args.text(), args.text(), args.text()
p.owners[1] = owner
local stale, now = facts.check(p)
if stale then
  return stale
end

-- Of whom something is written by hand stays.
local named = profile ~= '-' and profile ~= ''
local writes = #changes + #gone > 0 or (named and p.version == '0')
local fields, resets, rolls = {}, {}, {}
local function set(name, value)
  fields[#fields + 1], fields[#fields + 2] = name, value
end

-- The ledger's item for a window that is reset, with the rolled quota that the window keeps. It may replace an earlier item
-- of this call about the same window.
local function reset_charge(id, seq, proposed)
  local part = window.rolled_part(proposed)
  local rolled = part ~= '' and string.sub(part, 2) or #rolls > 0 and '0'
  return ledger.charge(id, seq, '0', '0', '-') .. (rolled and ':rolled/' .. rolled or '')
end

-- A new sequence number: used amounts move to the closed window, and present holds settle there. `closing`: see
-- counter.close.
local function start_anew(closing, proposed)
  local anew = window.after(closing.stored_seq, false)
  counter.close(owner, closing, now)
  set(closing.id, account.counter_text(0, 0, proposed, anew))
  return anew
end

-- The stored window was over before the change, so nothing of it is carried over. The end of a campaign may still move.
local function is_over(stored)
  return window.kind(stored) ~= 'fixed' and clock.parse(window.finish(stored)) <= now
end

-- Moves a group's counter to its window in the new plan.
local function move(group)
  if not group.stored and group.action ~= 'block' or window.is_concurrent(group.seq) then
    return
  end
  -- No call proposes this text, so the next reserve takes the general path, which brings the alerts up to date.
  if owner.watched then
    group.window = string.gsub(group.window, '^%S+', '%0!')
  end
  local over = group.change == 'moved' and is_over(group.stored)
  local used = group.used
  if over then
    group.rolled, group.window = 0, window.with_rolled(group.window, '')
  end
  if over and group.rollover then
    rollover.turn(group, group.used, rollover.live(owner, group, group.held, now), group.blocked or 0)
  end
  if group.change == 'turned' then
    start_anew(group, group.window)
  elseif over or (group.action == 'reset' and group.change ~= 'new') then
    group.stored_seq, group.closed_used, group.closed_held = group.seq, args.digits(group.used), group.held
    group.seq = start_anew(group, group.window)
    used = 0
    if group.action == 'reset' then
      resets[#resets + 1] = group.roll and ledger.charge(group.id, group.seq, '0', '0', '-') or reset_charge(group.id, group.seq, group.window)
    end
  elseif group.change ~= 'same' or group.requoted then
    set(group.id, account.counter_text(group.used, group.held, group.window, group.seq))
    if group.grants then
      set(group.id .. '.grants', group.grants)
    end
  end
  if group.roll then
    rolls[#rolls + 1] = rollover.charge(group, group.seq)
  end
  -- A reset frees quota again.
  if group.action == 'block' and reset == '-' and group.quota then
    set(group.id .. '.blocked', group.seq .. ' ' .. args.digits(math.max(0, group.quota + group.rolled - used)))
    owner.adjusted = true
  end
end

-- Resets the windows of one group, or of all. Open holds are not touched.
local function start_all_anew(wanted)
  local values = redis.call('HGETALL', owner.key)
  local stored = {}
  for place = 1, #values, 2 do
    stored[values[place]] = values[place + 1]
  end
  for id, value in pairs(stored) do
    local used, held, proposed, seq = account.counter(value)
    local is_meant = seq and (wanted == '*' or wanted == id) and not window.is_concurrent(seq) and not credits.is_credit(seq)
    -- A window that is over is closed by the next call. Emptied, it would leave all of its quota to the next one.
    if is_meant and not is_over(proposed) then
      local closing = { id = id, stored_seq = seq, stored = proposed, closed_used = used, closed_held = args.stored(held) }
      local anew = start_anew(closing, proposed)
      resets[#resets + 1] = reset_charge(id, anew, proposed)
      -- Grants add quota and block nothing.
      if stored[id .. '.grants'] then
        set(id .. '.grants', allowance.with_seq(stored[id .. '.grants'], seq, anew))
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
local version = p.version
if writes then
  local time = redis.call('TIME')
  version = args.digits(math.max(args.stored(version) + 1, time[1] * 1000000 + time[2]))
  owner.version = version
  if p.version == '0' then
    owner.forget_at = false
  end
  for place = 1, #changes, 2 do
    set(changes[place], changes[place + 1])
  end
  redis.call('ZADD', KEYS[7], 0, user)
end
account.append(owner, fields, #fields)
if #fields > 0 then
  chunked_hash.set(owner.key, fields)
end
if #gone > 0 then
  redis.call('HDEL', owner.key, unpack(gone))
end
if writes and p.version == '0' then
  retention.stay(owner, user, KEYS[8])
end
rollover.record(owner, rolls, now)
if #resets > 0 then
  local word = keys.owner_word(owner.key)
  ledger.add(word, resets)
  local source = { op = '- -', about = '- - ' .. string.match(word, '^user:(.*)$'), memo = '' }
  ledger.append('reset', now, false, source, '')
end
if named then
  redis.call('HSET', KEYS[12], user, profile)
elseif profile == '' then
  redis.call('HDEL', KEYS[12], user)
end
audit.write(KEYS[9], audit_entry)
if event ~= '' then
  outbox.add(KEYS[10], 'subscription.changed', now, { 'json', event })
end
return operation.keep(KEYS[2], fingerprint, { 'changed', now, version, answer })
