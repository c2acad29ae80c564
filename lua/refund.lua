--[[
refund: refunds the charges of a settled reservation, in the windows in which they were made.

KEYS
  see lib/settle

ARGV
  1 to 4: see lib/settle; then:
  figures: count, then per group: id, amount
  whole: count, then the ids of groups that count calls: refunded once all the others are

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing, now                              no such reservation (any more)
  expired, now                              past its grace
  not_pending, now, status                  it is still held
  settled, now, status, late, replayed, about, memo, version of the first owner, crossed, entries    as in commit
]]

local call, seen = settle.call()
if seen then
  return seen
end
local amounts, whole = {}, {}
for _ = 1, args.int() do
  local group = args.text()
  amounts[group] = args.int()
end
for _ = 1, args.int() do
  whole[args.text()] = true
end

local loaded, now = settle.load(call)
if not loaded then
  return now
end
if loaded.status == 'held' then
  return { 'not_pending', now, loaded.status }
end

-- Refunds at most `amount` of the charge, and at most what its window still counts.
local function give_back(owner, entry, amount)
  local given = math.min(amount, entry.charged)
  entry.charged = entry.charged - given
  entry.used = math.max(0, entry.used - given)
  if entry.balance and given > 0 then
    entry.change = entry.change - credits.refund(owner, entry, given)
  end
  return given
end

local open = 0
for _, owner in ipairs(loaded.owners) do
  settle.open(owner, now, call.expiry_outbox)
  -- Credits first, those used last first; then the newest window, since an overage was charged there.
  for round = 1, owner.balances and 2 or 1 do
    for place = #owner.entries, 1, -1 do
      local entry = owner.entries[place]
      local is_due = not owner.balances or (entry.balance and true or false) == (round == 1)
      if is_due and not whole[entry.source] then
        local amount = amounts[entry.source] or 0
        amounts[entry.source] = amount - give_back(owner, entry, amount)
        open = open + entry.charged
      end
    end
  end
end
for _, owner in ipairs(loaded.owners) do
  for _, entry in ipairs(owner.entries) do
    if whole[entry.source] and open == 0 then
      give_back(owner, entry, entry.charged)
    end
  end
end
for _, owner in ipairs(loaded.owners) do
  settle.write(owner, now, call)
end
ledger.append('refund', now, false, loaded, call.details)
return settle.keep(call, loaded, now, settle.answer(loaded, now, 0, call.crossed))
