-- The straight path of a reserve that exceeds one limit and takes the excess from a balance (lib/credits), in the common
-- case: the call has one owner, the owner has one balance, its first credit covers the excess, and no threshold is reached.
local straight_overflow = {}

-- What remains in all, uncovered, thresholds, the lowest reported one; then the first credit, and the rest of the list.
local list_pattern = '^(%d+) (%d+) (%S+) ([^;]+);(b%d+:)(%d+:)(%d+):(%d+)(:%d+:%d+:%d+:)([%d*]+)(.*)$'
local expiry_pattern = '^,b%d+:%d+:%d+:%d+:%d+:%d+:%d+:([^,]+)'

-- The place of the only group over its limit, and what it would count; nil if there are several.
local function group_over(owner)
  local limits, used, sums, found, found_total = owner.limits, owner.used, owner.sums, nil, nil
  for index = 1, #limits do
    local total = used[index] + sums[index]
    if total > limits[index] then
      if found then
        return nil
      end
      found, found_total = index, total
    end
  end
  return found, found_total
end

-- Whether this balance has to report a threshold.
local function is_low(balance, left, low)
  for at = 1, #balance.thresholds do
    local threshold = balance.thresholds[at]
    if left <= threshold and (low == '-' or threshold < low + 0) then
      return true
    end
  end
  return false
end

-- What expires next, as in credits.next_expiry; nil if that depends on more than the first credit.
local function next_expiry(remaining_text, ends_at, rest)
  if ends_at == '*' then
    return ''
  end
  if rest ~= '' and (remaining_text == '0' or match(rest, expiry_pattern) == ends_at) then
    return nil
  end
  return remaining_text ~= '0' and ':' .. remaining_text .. ':' .. ends_at or ''
end

-- What the present call takes: number of the group over its limit, place of its amount in ARGV, the amount, what the
-- reservation's entries say instead of the amount, and the end of the group's state.
local over_limit = { at = 0, place = 0, amount = '', entries = '', state = ' ' }

-- Splits the amount of the group over its limit, and holds the excess: reduces the owner's sum of that group, and puts the
-- balance's two fields and their values into its `extra`. Returns `over_limit`; nil if the general path must decide.
function straight_overflow.take(owner, frame, now)
  local over_at, total = group_over(owner)
  local balance = owner.kept_balances[1]
  local group = over_at and owner.groups[over_at]
  if not group or not group.onto or not group.quota or owner.kept_balances[2] or frame.ends[over_at] ~= ' ' then
    return nil
  end
  local place = unroll.first_place + (owner.is_user and 0 or 1) + over_at - 1
  local sum, amount = owner.sums[over_at], ARGV[place] + 0
  local over = total - owner.limits[over_at]
  over = amount < over and amount or over
  local values = redis_call('HMGET', KEYS[2], balance.id, balance.list)
  local used, held, tail = match(values[1] or '', straight.counter_pattern)
  local left, uncovered, below, low, name, first, open, of_credit, charged, ends_at, rest = match(values[2] or '', list_pattern)
  if not tail or below ~= balance.below or (ends_at ~= '*' and ends_at + 0 <= now) then
    return nil
  end
  -- Sums beyond `most` are not exact.
  if total > args.most or over <= 0 or open + 0 < over or left + 0 < over then
    return nil
  end
  local remaining_text, over_text = args.digits(open - over), args.digits(over)
  left = left - over
  local expiry = not is_low(balance, left, low) and next_expiry(remaining_text, ends_at, rest)
  if not expiry then
    return nil
  end
  owner.sums[over_at] = sum - over
  local counted, left_text, extra = used .. '+' .. args.digits(held + over), args.digits(left), owner.extra
  extra[1], extra[2], extra[3] = balance.id, counted .. tail, balance.list
  extra[4] = left_text .. ' ' .. uncovered .. ' ' .. below .. ' ' .. low .. ';' .. name .. first .. remaining_text .. ':'
    .. args.digits(of_credit + over) .. charged .. ends_at .. rest
  over_limit.at, over_limit.place, over_limit.amount = over_at, place, ARGV[place]
  over_limit.entries = args.digits(amount - over) .. ',' .. group.id .. '>' .. balance.id .. ':' .. name .. over_text
  over_limit.state = '>' .. over_text .. '@' .. counted .. '*' .. left_text .. ':' .. uncovered .. expiry .. ' '
  return over_limit
end
