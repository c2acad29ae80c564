-- What grants add to a group's quota, and what a plan change takes from it (`blocked`). Fields of the account, only if
-- needed; the owner's `adjusted` says that any of its groups has some:
-- <group>.blocked = '<seq> <amount>': until that window ends
-- <group>.grants  = '<id>:<amount>:<seq|*>:<ends_at_ms|*>,…': within that window, or in every window until then
local allowance = {
  -- Active grants of one counter.
  most_grants = 8,
}

-- The fields of each grant in a stored list.
function allowance.each(list)
  return string.gmatch(list, '([^:,]+):(%d+):([^:,]+):([^:,]+)')
end

function allowance.is_live(seq, ends_at, group, now)
  return (seq == '*' or seq == group.seq) and (ends_at == '*' or now < args.stored(ends_at))
end

-- Whether a stored window was over before it is moved. Its grants ended with it, although its number stays.
function allowance.is_over(stored, now)
  return clock.parse(window.finish(stored)) <= now
end

-- The list with `other` in place of the sequence number `seq`; without `other`, those grants are left out.
function allowance.with_seq(list, seq, other)
  local kept = {}
  for name, amount, own, ends_at in allowance.each(list) do
    if own ~= seq or other then
      kept[#kept + 1] = name .. ':' .. amount .. ':' .. (own == seq and other or own) .. ':' .. ends_at
    end
  end
  return table.concat(kept, ',')
end

-- The grants of a group when its window with that seq ended.
function allowance.granted_at_end(key, group, seq, finish)
  local granted, end_ms = 0, clock.parse(finish)
  for _, amount, own, ends_at in allowance.each(redis.call('HGET', key, group .. '.grants') or '') do
    if own == seq or (own == '*' and args.stored(ends_at) >= end_ms) then
      granted = granted + args.stored(amount)
    end
  end
  return granted
end

-- When a grant of the list ends ('+inf' never), by the stored counter (false: none); nil if it has ended.
function allowance.ends(list, grant, value, now)
  local _, stored, own_seq
  if value then
    _, _, stored, own_seq = account.counter(value)
  end
  for name, _, seq, ends_at in allowance.each(list) do
    if name == grant and ends_at ~= '*' then
      return now < args.stored(ends_at) and ends_at or nil
    elseif name == grant and own_seq == seq and not allowance.is_over(stored, now) then
      return args.digits(clock.parse(window.finish(stored)))
    end
  end
  return nil
end

-- Sets `granted` and `blocked` of the owner's groups, whose sequence numbers are known.
function allowance.read(owner, now)
  if not owner.adjusted or #owner.groups == 0 then
    return
  end
  local fields = {}
  for place = 1, #owner.groups do
    local group = owner.groups[place]
    fields[2 * place - 1] = group.id .. '.grants'
    fields[2 * place] = group.id .. '.blocked'
  end
  local values = chunked_hash.get(owner.key, fields)
  for place = 1, #owner.groups do
    local group = owner.groups[place]
    group.granted, group.blocked = 0, 0
    if group.change == 'moved' and values[2 * place - 1] and allowance.is_over(group.stored, now) then
      values[2 * place - 1] = allowance.with_seq(values[2 * place - 1], group.seq, nil)
      group.grants = values[2 * place - 1]
    end
    for _, amount, seq, ends_at in allowance.each(values[2 * place - 1] or '') do
      if allowance.is_live(seq, ends_at, group, now) then
        group.granted = group.granted + args.stored(amount)
      end
    end
    local seq, blocked = string.match(values[2 * place] or '', '^(%S+) (%d+)$')
    if seq == group.seq then
      group.blocked = args.stored(blocked)
    end
    -- For lib/rollover.
    group.closed_blocked = seq and seq == group.stored_seq and args.stored(blocked) or 0
  end
end
