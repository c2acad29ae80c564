-- fit: a reserve takes as much of one figure as every group has room for. The node proposes the amounts of the least
-- value that the caller accepts. If the call is allowed with them, the figure grows as far as possible, in the same step.
-- The proposal's `fit`: '<least value> <growth> <place>', then per group ';<whole> <fraction> <spare>'
--   growth: how much the figure may grow, less than 10^12; place: where its least value begins in the memo
--   whole, fraction: what each further one of the figure adds to the group's amount, in steps and 10^-12 of a step
--   spare: how much the proposed amount was rounded up (10^-12 of a step)
local fit = { parts = 1000000000000, half = 1000000 }

-- What `more` of the figure add to an amount: ceil((each * more - spare) / 10^12), exact. The figure and the fraction are
-- below 10^12, and their product is not: so they are multiplied in halves of six digits.
local function added(slope, more)
  local half = fit.half
  local low = more % half
  local high = (more - low) / half
  local middle = slope.high * low + slope.low * high
  local carried = middle % half
  local rest = carried * half + slope.low * low - slope.spare
  return slope.whole * more + slope.high * high + (middle - carried) / half + math.ceil(rest / fit.parts)
end

-- The groups whose amounts grow with the figure.
local function growing(p)
  local slopes, place, index = {}, 1, 0
  for whole, fraction, spare in string.gmatch(p.fit, ';(%d+) (%d+) (%d+)') do
    index = index + 1
    while index > #p.owners[place].groups do
      place, index = place + 1, 1
    end
    local group = p.owners[place].groups[index]
    if whole ~= '0' or fraction ~= '0' then
      local low = fraction % fit.half
      slopes[#slopes + 1] = { group = group, least = group.amount, whole = args.stored(whole), low = low,
        high = (fraction - low) / fit.half, spare = args.stored(spare) }
    end
  end
  return slopes
end

-- Splits the amounts between limit groups and balances again. Returns whether every group that a balance concerns has room:
-- what one takes may be missing for another one that does not grow.
local function has_credits(owner)
  credits.plan(owner)
  for place = 1, #owner.groups do
    local group = owner.groups[place]
    if group.balance and counter.is_over_limit(group) then
      return false
    end
  end
  return true
end

-- Gives the groups their amounts if the figure grows by `more`. Returns whether all of them have room.
local function has_room(p, slopes, more)
  for place = 1, #slopes do
    local slope = slopes[place]
    slope.group.amount = slope.least + added(slope, more)
  end
  for place = 1, #p.owners do
    if p.owners[place].balances and not has_credits(p.owners[place]) then
      return false
    end
  end
  for place = 1, #slopes do
    if counter.is_over_limit(slopes[place].group) then
      return false
    end
  end
  return true
end

-- After the call is allowed: gives every group the amount of the largest value for which all have room. Returns the value
-- (text), and whether it is all that the caller may get.
function fit.enlarge(p)
  local least, growth = string.match(p.fit, '^(%d+) (%d+)')
  local slopes, lowest, highest = growing(p), 0, args.stored(growth)
  local is_whole = has_room(p, slopes, highest)
  if is_whole then
    lowest = highest
  end
  -- There is room for `lowest`, and none for `highest`.
  while highest - lowest > 1 do
    local middle = math.floor((lowest + highest) / 2)
    if has_room(p, slopes, middle) then
      lowest = middle
    else
      highest = middle
    end
  end
  has_room(p, slopes, lowest)
  for place = 1, #slopes do
    local group = slopes[place].group
    group.amount_text = args.digits(group.amount)
  end
  return args.digits(least + lowest), is_whole
end

-- The memo with the fitted value instead of the least one.
function fit.memo(p, memo, value)
  local least, place = string.match(p.fit, '^(%d+) %d+ (%d+)')
  return sub(memo, 1, place - 1) .. value .. sub(memo, place + #least)
end
