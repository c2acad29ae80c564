-- Settling: a reservation's accounts (see lib/record) meet what they were held in: the counter while their window is the
-- current one, afterwards the closed window in `past`.
local settle = {}

-- A closed window: '<used> <kind> <start> <end> <quota|-> <granted> <keep until>'.
local function read_closed(owner, account)
  account.past = account.id .. '.' .. account.serial
  account.bounds = 'unknown - - - 0 0'
  local stored = redis.call('HGET', owner.past, account.past)
  if stored then
    local used
    used, account.bounds = string.match(stored, '^(%d+) (.*)$')
    account.used = args.stored(used)
    account.before = account.used
  end
end

-- The owner's own fields, which are read before those of its accounts.
local own = { 'next_expiry', 'last_expiry', 'version', 'adjusted', 'watched' }
-- The fields of the present call, and behind them what a longer one has left.
local to_read = {}

-- Reads the accounts of all entries, and whether this owner's hold is still live. What is due of expired holds is
-- taken first, so that no answer counts them.
function settle.open(owner, now, expiry_outbox, reclaimed)
  owner.live = record.is_live(owner)
  local accounts = owner.accounts
  if #accounts == 0 then
    return
  end
  local values = pieces.get(owner.counters, to_read, names.fields(own, accounts, to_read))
  local next_expiry = args.stored(values[1])
  if not reclaimed and next_expiry > 0 and next_expiry <= now then
    hold.reclaim(owner, now, expiry_outbox)
    return settle.open(owner, now, expiry_outbox, true)
  end
  owner.last_expiry = args.stored(values[2])
  owner.version, owner.adjusted, owner.watched, owner.groups = values[3], values[4], values[5], {}
  local at = #own
  for place = 1, #accounts do
    local account, stored = accounts[place], values[at + 1]
    local serial, bounds
    if stored then
      serial, bounds = window.split(stored)
    end
    if serial == account.serial then
      account.used, account.held = args.stored(values[at + 2]), args.stored(values[at + 3])
      account.before, account.bounds = account.used, bounds
      owner.groups[#owner.groups + 1] = account
    else
      read_closed(owner, account)
    end
    at = at + 3
  end
  if owner.adjusted then
    allowance.read(owner, now)
  end
end

-- Frees `amount` of what the reservation holds there. Only the call that still finds the hold lowers `held`.
function settle.free(owner, account, amount)
  if owner.live and not account.past then
    account.held = math.max(0, account.held - amount)
  end
end

-- Charges an account's window, also with nothing: a repetition tells which counters the reservation had. Answers false if
-- the sum would not be exact any more.
function settle.charge(account, amount)
  account.used = account.used + amount
  account.charged = (account.charged or 0) + amount
  return account.used <= counter.most
end

-- What was charged of a group so far, over all its windows.
function settle.charged(owner, group)
  local sum = 0
  for at = 1, #owner.accounts do
    local account = owner.accounts[at]
    if account.id == group then
      sum = sum + (account.charged or 0)
    end
  end
  return sum
end

-- The reservation holds nothing any more.
function settle.let_go(owner)
  for at = 1, #owner.accounts do
    owner.accounts[at].holds = false
  end
end

-- `expires_at` of the reservation: until its grace is over, draws and refunds may still come to these windows.
-- Alerts are told in `outbox_key` and added to `passed`; what changes is added to the coming entry of the ledger.
function settle.write(owner, expires_at, now, outbox_key, passed)
  local changes, charges, count = {}, {}, 0
  for at = 1, #owner.accounts do
    local account = owner.accounts[at]
    local used, change = args.digits(account.used), account.used - account.before
    if not window.is_concurrent(account.serial) then
      local text = change == account.amount and account.text or args.digits(change)
      charges[#charges + 1] = ledger.charge(account.id, account.serial, text, used)
    end
    if account.past and change ~= 0 then
      -- What was charged here may be given back until the reservation's grace is over.
      local rest, keep_until = string.match(account.bounds, '^(.*) (%d+)$')
      keep_until = math.max(args.stored(keep_until), expires_at + clock.grace_ms)
      redis.call('HSET', owner.past, account.past, used .. ' ' .. rest .. ' ' .. args.digits(keep_until))
      counter.leave_together(owner)
    elseif not account.past then
      changes[count + 1], changes[count + 2] = account.names.used, used
      changes[count + 3], changes[count + 4] = account.names.held, args.digits(account.held)
      count = count + 4
    end
  end
  if #changes > 0 then
    if expires_at > owner.last_expiry then
      changes[#changes + 1], changes[#changes + 2] = 'last_expiry', args.digits(expires_at)
    end
    if owner.watched then
      alert.charge(owner, owner.groups, now, outbox_key, changes, passed)
    end
    pieces.set(owner.counters, changes)
  end
  ledger.add(owner.counters, charges)
end

-- The closed windows of a reservation that are not kept until a later expiry and its grace: fields and values to set in
-- `past`.
function settle.closed_until(owner, expires_at)
  local fields, changes = {}, {}
  for _, account in ipairs(owner.accounts) do
    fields[#fields + 1] = account.id .. '.' .. account.serial
  end
  local values = #fields > 0 and pieces.get(owner.past, fields) or {}
  for place, field in ipairs(fields) do
    local rest, keep_until = string.match(values[place] or '', '^(.*) (%d+)$')
    if rest and args.stored(keep_until) < expires_at + clock.grace_ms then
      changes[#changes + 1], changes[#changes + 2] = field, rest .. ' ' .. args.digits(expires_at + clock.grace_ms)
    end
  end
  return changes
end

-- Appends per account: group, used, held, granted, blocked, '<kind> <start> <end> …', counters.
local function reply(answer, owners)
  local count = #answer
  for at = 1, #owners do
    local owner = owners[at]
    for place = 1, #owner.accounts do
      local account = owner.accounts[place]
      answer[count + 1] = account.id
      counter.stand(answer, count + 1, account)
      answer[count + 6], answer[count + 7] = account.bounds, owner.counters
      count = count + 7
    end
  end
  return answer
end

-- The answer to a call on a reservation that has already ended: nothing changes.
function settle.replay(loaded, now, expiry_outbox)
  for at = 1, #loaded.owners do
    local owner = loaded.owners[at]
    settle.open(owner, now, expiry_outbox)
  end
  return settle.answer(loaded, now, 1, {})
end

function settle.answer(loaded, now, replayed, passed)
  local late = loaded.late and 1 or 0
  local version = loaded.owners[1].version or '0'
  local told = table.concat(passed, ',')
  return reply({ 'settled', now, loaded.status, late, replayed, loaded.about .. ' ' .. loaded.memo, version, told }, loaded.owners)
end
