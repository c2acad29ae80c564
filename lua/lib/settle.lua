-- Settling: a reservation's entries (see lib/record) are charged to the counter while their window is the current one,
-- afterwards to the closed window in `past`.
local settle = {}

-- What commit, release, refund and outcome have in common.
-- KEYS: 1 record of the reservation, which names its owners; 2 record of this operation (only with an idempotency key)
-- ARGV: 1 '<sandbox (0|1)> <whether expiries are reported (0|1)> <most entries of the ledger>',
--   2 created_at_ms (of the id), 3 details: what the call brings, for the ledger (JSON, or ''), 4 fingerprint ('-' without an
--   idempotency key)
-- Returns the call, and a reply if it was done before.
function settle.call()
  local sandbox, reports_expiry, ledger_most = string.match(ARGV[1], '^(%d) (%d) (%d+)$')
  local tag = keys.tag(KEYS[1])
  local call = {
    tag = tag, sandbox = args.stored(sandbox), created_at = ARGV[2], details = ARGV[3], fingerprint = ARGV[4],
    operation_key = KEYS[2], outbox = keys.of(tag, 'outbox'), expiry_outbox = false, crossed = {},
  }
  call.expiry_outbox = reports_expiry == '1' and call.outbox
  ledger.open(keys.of(tag, 'ledger'), ledger_most)
  args.skip(4)
  return call, call.operation_key and operation.seen(call.operation_key, call.fingerprint)
end

-- Loads the reservation. Returns it and the time; or nil and a reply, if there is none or its grace is over.
function settle.load(call)
  local now = clock.now_ms(keys.of(call.tag, 'clock'), call.sandbox)
  local loaded = record.load(KEYS[1], call.created_at)
  if not loaded then
    return nil, { 'missing', now }
  end
  if now >= loaded.expires_at + clock.grace_ms then
    return nil, { 'expired', now }
  end
  return loaded, now
end

-- Stores the record and, with an idempotency key, the answer. Returns the answer.
function settle.keep(call, loaded, now, answer)
  record.save(loaded, call.operation_key and operation.record_ttl(loaded.expires_at, now, call.sandbox))
  if call.operation_key then
    operation.keep(call.operation_key, call.fingerprint, answer)
  end
  return answer
end

-- A closed window: '<used> <quota|-> <kind>/<start>/<end> <granted> <keep until>'.
local function read_closed(owner, entry)
  entry.closed = entry.id .. '.' .. entry.seq
  entry.window, entry.rest = '- unknown/-/-', '0 0'
  local stored = redis.call('HGET', owner.past, entry.closed)
  if stored then
    local used
    used, entry.window, entry.rest = string.match(stored, '^(%d+) (%S+ %S+) (.*)$')
    entry.used, entry.rolled = args.stored(used), window.rolled(entry.window)
    entry.before = entry.used
  end
end

-- The fields of the present call, followed by leftovers of a longer one.
local to_read = { '.account' }

-- Reads the counters of all entries, and whether this owner's hold is still live. Expired holds are removed first, so
-- that no answer counts them.
function settle.open(owner, now, expiry_outbox, reclaimed)
  owner.live = record.is_live(owner)
  local entries = owner.entries
  if #entries == 0 then
    return
  end
  for place = 1, #entries do
    to_read[place + 1] = entries[place].onto or entries[place].id
  end
  owner.balances, owner.now = false, now
  local values = chunked_hash.get(owner.key, to_read, #entries + 1)
  account.parse(owner, values[1])
  if not reclaimed and owner.next_expiry > 0 and owner.next_expiry <= now then
    hold.reclaim(owner, now, expiry_outbox)
    return settle.open(owner, now, expiry_outbox, true)
  end
  if owner.limited then
    own_quota.note(owner, now)
  end
  owner.groups = {}
  for place = 1, #entries do
    local entry, value = entries[place], values[place + 1]
    local used, held, stored, seq
    if value then
      used, held, stored, seq = account.counter(value)
    end
    if entry.onto then
      entry.balance = credits.load(owner, entry.onto, now)
      credits.touch(owner)
    elseif seq == entry.seq then
      entry.used, entry.held, entry.window = used + 0, held + 0, stored
      entry.before, entry.rolled = entry.used, window.rolled(stored)
      owner.groups[#owner.groups + 1] = entry
    else
      read_closed(owner, entry)
    end
  end
  if owner.adjusted then
    allowance.read(owner, now)
  end
end

-- Releases `amount` of what the reservation holds there. Only the call that still finds the hold reduces `held`.
function settle.free(owner, entry, amount)
  if not owner.live then
    return
  end
  if entry.balance then
    credits.settle(owner, entry, amount, 0)
  elseif not entry.closed then
    entry.held = math.max(0, entry.held - amount)
  end
end

-- Charges an entry's window, even with 0, because a repetition returns which counters the reservation had. Returns
-- false if the sum would no longer be exact.
function settle.charge(entry, amount)
  entry.used = entry.used + amount
  entry.charged = (entry.charged or 0) + amount
  return entry.used <= counter.most
end

-- The charge of a group so far, over all its windows.
function settle.charged(owner, group)
  local sum = 0
  for at = 1, #owner.entries do
    local entry = owner.entries[at]
    if entry.id == group then
      sum = sum + (entry.charged or 0)
    end
  end
  return sum
end

-- Removes all holds of the reservation.
function settle.let_go(owner)
  for at = 1, #owner.entries do
    owner.entries[at].holds = false
  end
end

-- Alerts are reported in the call's outbox and added to its `crossed`; changes are added to the next entry of the ledger.
function settle.write(owner, now, call)
  local changes, charges, count = {}, {}, 0
  for at = 1, #owner.entries do
    local entry = owner.entries[at]
    local used, change = args.digits(entry.used), entry.used - entry.before
    if entry.balance then
      balances.charge(entry.balance, { id = entry.id, name = entry.seq, amount = entry.change }, charges)
    elseif not window.is_concurrent(entry.seq) then
      local text = change == entry.amount and entry.text or args.digits(change)
      charges[#charges + 1] = counter.charge(entry, text)
    end
    if entry.closed and change ~= 0 then
      redis.call('HSET', owner.past, entry.closed, used .. ' ' .. entry.window .. ' ' .. entry.rest)
      counter.leave_together(owner)
    elseif not entry.closed and not entry.balance then
      changes[count + 1] = entry.id
      changes[count + 2] = used .. '+' .. args.digits(entry.held) .. '/' .. entry.window .. '#' .. entry.seq
      count = count + 2
    end
  end
  if owner.balances then
    balances.append(owner, changes, count)
  end
  if #changes > 0 then
    if owner.watched then
      alert.charge(owner, owner.groups, now, changes, call)
    end
    chunked_hash.set(owner.key, changes)
  end
  if owner.balances then
    balances.finish(owner, now)
  end
  ledger.add(owner.word, charges)
end

-- The closed windows of a reservation that must be stored until a later expiry and its grace: fields and values to set
-- in `past`.
function settle.closed_until(owner, expires_at)
  local fields, changes = {}, {}
  for _, entry in ipairs(owner.entries) do
    fields[#fields + 1] = entry.id .. '.' .. entry.seq
  end
  local values = #fields > 0 and chunked_hash.get(owner.past, fields) or {}
  for place, field in ipairs(fields) do
    local rest, keep_until = string.match(values[place] or '', '^(.*) (%d+)$')
    if rest and args.stored(keep_until) < expires_at + clock.grace_ms then
      changes[#changes + 1], changes[#changes + 2] = field, rest .. ' ' .. args.digits(expires_at + clock.grace_ms)
    end
  end
  return changes
end

-- Per owner '<owner>[ <group> <used>+<held>[+<granted>+<blocked>[+<rolled>]][=<own quota|->]/<window>#<sequence number>]…',
-- separated by ' ; '; the state of a balance as in lib/balances.
local function entries_text(owners)
  local list = {}
  for at = 1, #owners do
    local owner = owners[at]
    list[at] = owner.word
    for place = 1, #owner.entries do
      local entry = owner.entries[place]
      if not entry.balance then
        list[at] = list[at] .. ' ' .. entry.id .. ' ' .. counter.state(entry) .. own_quota.mark(owner, entry.id) .. '/' .. entry.window .. '#' .. entry.seq
      end
    end
    for _, balance in ipairs(owner.balances or {}) do
      list[at] = list[at] .. ' ' .. balance.id .. ' ' .. balances.state(balance) .. '/' .. credits.window .. '#' .. balance.seq
    end
  end
  return table.concat(list, ' ; ')
end

-- What was charged to balances because it did not fit into a limit group: '<limit group>><balance>:<amount>,…'.
local function overflow_text(owners)
  local list, sums = {}, {}
  for at = 1, #owners do
    for _, entry in ipairs(owners[at].entries) do
      if entry.balance and entry.source ~= entry.onto then
        if not sums[entry.id] then
          list[#list + 1] = entry.id
        end
        sums[entry.id] = (sums[entry.id] or 0) + (entry.charged or 0)
      end
    end
  end
  for place, id in ipairs(list) do
    list[place] = id .. ':' .. args.digits(sums[id])
  end
  return table.concat(list, ',')
end

-- The answer to a call on a reservation that has already ended: nothing changes.
function settle.replay(loaded, now, expiry_outbox)
  for at = 1, #loaded.owners do
    local owner = loaded.owners[at]
    settle.open(owner, now, expiry_outbox)
  end
  return settle.answer(loaded, now, 1, {})
end

-- `crossed`: alerts that this call reported, '<group>:<percent>' each.
function settle.answer(loaded, now, replayed, crossed)
  local late = loaded.late and 1 or 0
  local version = loaded.owners[1].version or '0'
  return { 'settled', now, loaded.status, late, replayed, loaded.about, loaded.memo, version, table.concat(crossed, ','),
    entries_text(loaded.owners), overflow_text(loaded.owners) }
end
