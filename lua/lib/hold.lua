-- Live holds of one owner: a sorted set by expiry (ms). A member is
-- '<operation> <group>:<seq>:<amount>,… <label> <created at ms>', so reclaiming needs no other record. What is held in a
-- credit has another form, see lib/credits.
-- The label is '<event> <key>', followed by ' <user>' if this owner is not the user. Only the member of a reservation's
-- first owner has it; the others have '-', so that an expiry is reported once. The time distinguishes two operations with
-- the same name.
-- `held` of a counter is only reduced by the call that removes the member.
-- A batch is the maximum that one call removes for all its owners together, since Redis executes no other calls
-- meanwhile. A hold that is reported in the outbox counts as two, because it costs as much. `taken`: by the present
-- call.
local hold = { batch = 64, taken = 0 }

-- The label of a call in the first owner's member. `about`: '<event> <key> <user>'.
function hold.label(about, word)
  -- Without ' <user>', which is as long as the word without 'user'.
  local short = #about - #word + 4
  local is_user = string.sub(word, 1, 5) == 'user:' and string.sub(about, short + 1) == ' ' .. string.sub(word, 6)
  return is_user and string.sub(about, 1, short) or about
end

-- '<event> <key> <user>', from a label.
function hold.about(label, word)
  return string.find(label, '^%S+ %S+$') and label .. ' ' .. string.sub(word, 6) or label
end

function hold.entries(list)
  return string.gmatch(list, '([^:,]+):([^:,]+):(%d+)')
end

-- Sums the amounts of `members` by group and seq; those in credits by balance and credit.
local function sums(members)
  local by_group, order = {}, {}
  for _, member in ipairs(members) do
    for group, seq, amount in hold.entries(string.match(member, '^%S+ (%S+)')) do
      if credits.is_credit(seq) then
        local _, balance = credits.parts(group)
        group = balance
      end
      local held = by_group[group]
      if not held then
        held = {}
        by_group[group] = held
        order[#order + 1] = group
      end
      held[seq] = (held[seq] or 0) + args.stored(amount)
    end
  end
  return by_group, order
end

-- Holds that have expired by `now`, without writing: amounts by group and seq, and whether there are more than `limit`.
function hold.due(holds_key, now, limit)
  local found = redis.call('ZRANGEBYSCORE', holds_key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit + 1)
  local more = #found > 2 * limit
  local members, expiries = {}, {}
  for place = 1, math.min(#found, 2 * limit), 2 do
    members[#members + 1], expiries[#expiries + 1] = found[place], found[place + 1]
  end
  local by_group, order = sums(members)
  return by_group, order, #members, more, members, expiries
end

-- Each expired reservation leaves an entry in the ledger, and in `outbox_key` if there is one.
local function add_expired_events(members, expiries, word, now, outbox_key)
  for place, member in ipairs(members) do
    local name, entries, label, created = string.match(member, '^(%S+) (%S+) (%S+ .+) (%d+)$')
    if label then
      local about = hold.about(label, word)
      ledger.expire(expiries[place], name .. ' ' .. created, about, entries)
      if outbox_key then
        local event, key, user = string.match(about, '^(%S+) (%S+) (%S+)$')
        outbox.add(outbox_key, 'reservation.expired', now, {
          'reservation', name, 'created', created, 'entries', entries, 'event', event, 'key', key, 'user', user,
        })
      end
    end
  end
end

-- Removes expired holds from `held`, up to the rest of the batch, and reports them in `outbox_key` if there is one.
-- Returns how many, and whether more have expired.
function hold.reclaim(owner, now, outbox_key)
  local each = outbox_key and 2 or 1
  local most = math.max(0, math.floor((hold.batch - hold.taken) / each))
  local by_group, order, count, more, members, expiries = hold.due(owner.holds, now, most)
  hold.taken = hold.taken + count * each
  local changes = {}
  local values = redis.call('HMGET', owner.key, '.account', unpack(order))
  account.parse(owner, values[1])
  local expired = { key = owner.key, word = keys.owner_word(owner.key), balances = false, touched = false, now = now }
  for index, group in ipairs(order) do
    local value = values[index + 1]
    local used, held, stored, seq = account.counter(value or '')
    local amount = seq and by_group[group][seq]
    if seq and credits.is_credit(seq) then
      local balance = credits.open(expired, group, value, redis.call('HGET', owner.key, group .. '.credits'), now)
      credits.touch(expired)
      credits.return_expired(expired, balance, by_group[group])
    elseif amount then
      changes[#changes + 1] = group
      changes[#changes + 1] = account.counter_text(used + 0, math.max(0, held - amount), stored, seq)
    end
  end
  local rest = redis.call('ZRANGE', owner.holds, count, count, 'WITHSCORES')
  owner.next_expiry = args.stored(rest[2])
  account.append(owner, changes, #changes)
  if expired.balances then
    balances.append(expired, changes, #changes)
  end
  if #changes > 0 then
    chunked_hash.set(owner.key, changes)
  end
  if expired.balances then
    balances.finish(expired, now)
  end
  add_expired_events(members, expiries, expired.word, now, outbox_key)
  if count > 0 then
    redis.call('ZREMRANGEBYRANK', owner.holds, 0, count - 1)
  end
  return count, more
end

-- The earliest expiry (ms) after now among a group's holds, 0 if it is not among the owner's first batch.
local function first_expiry(holds_key, group, seq, now)
  local first = redis.call('ZRANGE', holds_key, 0, hold.batch - 1, 'WITHSCORES')
  local wanted = group .. ':' .. seq
  for place = 1, #first, 2 do
    local expiry = args.stored(first[place + 1])
    for held_group, held_seq in hold.entries(string.match(first[place], '^%S+ (%S+)')) do
      if expiry > now and held_group .. ':' .. held_seq == wanted then
        return expiry
      end
    end
  end
  return 0
end

-- When the first hold of every full concurrent group ends (ms); 0 if none is full.
function hold.free_at(owners, now)
  local latest = 0
  for _, owner in ipairs(owners) do
    for _, group in ipairs(owner.groups) do
      if group.over_limit and window.is_concurrent(group.seq) then
        latest = math.max(latest, first_expiry(owner.holds, group.id, group.seq, now))
      end
    end
  end
  return latest
end
