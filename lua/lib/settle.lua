-- Settling: a reservation's entries meet the accounts they were held in: the counter while the entry's window is
-- the current one, afterwards the closed window in `past`.
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

-- The account of each entry, and one of each: entries of one counter and window share it. Of an account only id and
-- serial are known yet.
local function accounts_of(owner)
  local accounts, known = {}, {}
  for _, list in ipairs({ owner.held, owner.charged }) do
    for at = 1, #list do
      local entry = list[at]
      local name = entry.group .. ':' .. entry.serial
      local account = known[name]
      if not account then
        account = {
          id = entry.group, serial = entry.serial, past = false, used = 0, held = 0, before = 0, granted = 0, blocked = 0,
          bounds = false,
        }
        known[name] = account
        accounts[#accounts + 1] = account
      end
      entry.account = account
    end
  end
  return accounts
end

-- Reads the accounts of all entries, and whether this owner's hold is still live. What is due of expired holds is
-- taken first, so that no answer counts them.
function settle.open(owner, now, expiry_outbox, reclaimed)
  owner.live = record.is_live(owner)
  local accounts = accounts_of(owner)
  owner.accounts = accounts
  if #accounts == 0 then
    return
  end
  local fields = { 'next_expiry', 'last_expiry', 'version', 'adjusted', 'watched' }
  for place = 1, #accounts do
    local account = accounts[place]
    local id = account.id
    fields[3 * place + 3], fields[3 * place + 4], fields[3 * place + 5] = id .. '.window', id .. '.used', id .. '.held'
  end
  local values = pieces.get(owner.counters, fields)
  local next_expiry = args.stored(values[1])
  if not reclaimed and next_expiry > 0 and next_expiry <= now then
    hold.reclaim(owner, now, expiry_outbox)
    return settle.open(owner, now, expiry_outbox, true)
  end
  owner.last_expiry = args.stored(values[2])
  owner.version, owner.adjusted, owner.watched, owner.groups = values[3], values[4], values[5], {}
  for place = 1, #accounts do
    local account = accounts[place]
    local serial, bounds
    if values[3 * place + 3] then
      serial, bounds = string.match(values[3 * place + 3], '^(%S+) (.*)$')
    end
    if serial == account.serial then
      account.used, account.held = args.stored(values[3 * place + 4]), args.stored(values[3 * place + 5])
      account.before, account.bounds = account.used, bounds
      owner.groups[#owner.groups + 1] = account
    else
      read_closed(owner, account)
    end
  end
  if owner.adjusted then
    allowance.read(owner, now)
  end
end

-- Frees `amount` of what an entry holds. Only the call that still finds the hold lowers `held`.
function settle.free(owner, entry, amount)
  local account = entry.account
  if owner.live and not account.past then
    account.held = math.max(0, account.held - amount)
  end
end

-- Charges an entry's window. Answers false if the sum would not be exact any more.
function settle.charge(owner, entry, amount)
  local account = entry.account
  account.used = account.used + amount
  for at = 1, #owner.charged do
    local charged = owner.charged[at]
    if charged.account == account then
      charged.amount = charged.amount + amount
      return account.used <= counter.most
    end
  end
  -- Also when nothing is charged: a repetition tells which counters the reservation had.
  owner.charged[#owner.charged + 1] = { group = entry.group, serial = entry.serial, amount = amount, account = account }
  return account.used <= counter.most
end

-- What was charged of a group so far, over all its windows.
function settle.charged(owner, group)
  local sum = 0
  for at = 1, #owner.charged do
    local entry = owner.charged[at]
    if entry.group == group then
      sum = sum + entry.amount
    end
  end
  return sum
end

-- `expires_at` of the reservation: until its grace is over, draws and refunds may still come to these windows.
-- Alerts are told in `outbox_key` and added to `passed`; what changes is added to the coming entry of the ledger.
function settle.write(owner, expires_at, now, outbox_key, passed)
  local changes, charges = {}, {}
  for at = 1, #owner.accounts do
    local account = owner.accounts[at]
    if not window.is_concurrent(account.serial) then
      charges[#charges + 1] = ledger.charge(account.id, account.serial, account.used - account.before, account.used)
    end
    if account.past and account.used ~= account.before then
      -- What was charged here may be given back until the reservation's grace is over.
      local rest, keep_until = string.match(account.bounds, '^(.*) (%d+)$')
      keep_until = math.max(args.stored(keep_until), expires_at + clock.grace_ms)
      redis.call('HSET', owner.past, account.past, args.digits(account.used) .. ' ' .. rest .. ' ' .. args.digits(keep_until))
      counter.leave_together(owner)
    elseif not account.past then
      local count = #changes
      changes[count + 1] = account.id .. '.used'
      changes[count + 2] = args.digits(account.used)
      changes[count + 3] = account.id .. '.held'
      changes[count + 4] = args.digits(account.held)
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
  for _, list in ipairs({ owner.held, owner.charged }) do
    for _, entry in ipairs(list) do
      fields[#fields + 1] = entry.group .. '.' .. entry.serial
    end
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
function settle.reply(answer, owners)
  for at = 1, #owners do
    local owner = owners[at]
    for place = 1, #owner.accounts do
      local account = owner.accounts[place]
      answer[#answer + 1] = account.id
      counter.stand(answer, account)
      answer[#answer + 1] = account.bounds
      answer[#answer + 1] = owner.counters
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
  return settle.reply({ 'settled', now, loaded.status, late, replayed, loaded.memo, version, told }, loaded.owners)
end
