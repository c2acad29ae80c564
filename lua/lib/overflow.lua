-- Commits what a reservation holds in limit groups and in the balances that they overflow onto.
local overflow = {}

-- Groups the entries of an owner: a limit group with the entries of its balance, or a balance that matched the event
-- itself. Each has id, limits (entries in windows) and credits (entries in credits).
local function requests(owner)
  local list, known = {}, {}
  for _, entry in ipairs(owner.entries) do
    local request = known[entry.source]
    if not request then
      request = { id = entry.source, limits = {}, credits = {}, charged = 0 }
      known[entry.source], list[#list + 1] = request, request
    end
    local entries = entry.balance and request.credits or request.limits
    entries[#entries + 1] = entry
    request.charged = request.charged + (entry.charged or 0)
  end
  return list
end

-- How much can be charged to a limit group's entry: what it holds, and the room of its window. An expired hold adds nothing.
-- A closed window has no room, so there it is what was held.
local function room(owner, entry)
  local holds = entry.holds or 0
  if entry.closed then
    return holds
  end
  local quota = match(entry.window, '^%d+')
  if not quota then
    return math.huge
  end
  local own = owner.live and holds or 0
  return math.max(own, quota + entry.granted + entry.rolled - entry.blocked - entry.used - entry.held + own)
end

-- Divides the total of a request among its entries: sets their `share`. Returns what exceeds them.
local function divide(owner, request, total)
  local open = math.max(0, total - request.charged)
  for place, entry in ipairs(request.limits) do
    local most = place == #request.limits and room(owner, entry) or entry.holds or 0
    entry.share = math.min(open, most)
    open = open - entry.share
  end
  for _, entry in ipairs(request.credits) do
    entry.share = math.min(open, entry.holds or 0)
    open = open - entry.share
  end
  return open
end

-- What a request still holds, or held before it expired, and what it was charged.
local function whole(request)
  local sum = request.charged
  for _, entries in ipairs({ request.limits, request.credits }) do
    for _, entry in ipairs(entries) do
      sum = sum + (entry.holds or 0)
    end
  end
  return sum
end

-- Charges an entry in a credit. Returns what the credit does not have, because the hold had expired.
local function charge_credit(owner, entry, freed)
  local charged = entry.share
  if owner.live then
    credits.settle(owner, entry, freed, charged)
  else
    charged = credits.charge_again(owner, entry, charged)
  end
  entry.charged, entry.change = (entry.charged or 0) + charged, entry.change + charged
  return entry.share - charged
end

-- Charges what exceeds a request's entries: to other credits, then as overage.
local function charge_rest(owner, request, onto, rest)
  local balance = onto and credits.load(owner, onto, owner.now)
  local last = request.limits[#request.limits]
  if balance then
    credits.touch(owner)
    local parts
    parts, rest = credits.take(balance, rest, 'used')
    for _, part in ipairs(parts) do
      local entry = record.entry(owner, last and request.id .. '>' .. onto or onto, part.name)
      entry.balance, entry.charged, entry.change = balance, (entry.charged or 0) + part.amount, entry.change + part.amount
    end
  end
  if rest == 0 then
    return true
  end
  if last then
    return settle.charge(last, rest)
  end
  credits.exceed(balance, rest)
  local entry = record.entry(owner, onto, credits.none)
  entry.balance, entry.charged, entry.change = balance, (entry.charged or 0) + rest, entry.change + rest
  return not credits.is_too_large(balance, 0)
end

-- Whether an owner's part of a commit may change balances. `figures`: see below.
function overflow.concerns(owner, figures)
  return owner.balances or (figures and figures.onto[owner.word])
end

-- Commits an owner's entries. `figures`: totals by '<owner> <group>', onto: by owner and group, the balance of a group
-- that overflows; nil without figures. Returns false if a sum would no longer be exact.
function overflow.commit(owner, figures, final)
  local onto_of = figures and figures.onto[owner.word] or {}
  for _, request in ipairs(requests(owner)) do
    local total, rest = figures and figures.totals[owner.word .. ' ' .. request.id], 0
    -- The hold has expired, so its amounts may not fit any more.
    if not total and not owner.live then
      total = whole(request)
    end
    if total and not (request.limits[1] and window.is_concurrent(request.limits[1].seq)) then
      rest = divide(owner, request, total)
    else
      for _, entry in ipairs(request.limits) do
        entry.share = window.is_concurrent(entry.seq) and 0 or entry.holds or 0
      end
      for _, entry in ipairs(request.credits) do
        entry.share = entry.holds or 0
      end
    end
    for _, entry in ipairs(request.limits) do
      local holds = entry.holds or 0
      local freed = final and holds or math.min(entry.share, holds)
      settle.free(owner, entry, freed)
      if not settle.charge(entry, entry.share) then
        return false
      end
      entry.holds = holds - freed
    end
    for _, entry in ipairs(request.credits) do
      local holds = entry.holds or 0
      local freed = final and holds or math.min(entry.share, holds)
      rest = rest + charge_credit(owner, entry, freed)
      entry.holds = holds - freed
    end
    local onto = onto_of[request.id] or (request.credits[1] and request.credits[1].onto)
    if rest > 0 and not charge_rest(owner, request, onto, rest) then
      return false
    end
  end
  return true
end
