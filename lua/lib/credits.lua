-- Balances and their credits, see docs/architecture.md. Fields of the account, only of owners with credits:
-- <balance> = a counter, see lib/account: its window never ends, and its sequence number is that of the newest credit
-- <balance>.credits = '<remaining> <uncovered> <threshold>,…|- <lowest threshold reported|->;<credit>,<credit>…': the
--   credits of which something remains or is held, in the order of use. A credit is
--   'b<number>:<amount>:<remaining>:<held>:<used>:<lapsed>:<voided>:<expires at ms|*|lapsed|voided>'
--   uncovered: what was used without a credit; `lapsed` or `voided`: what comes back does not remain
-- Fields of the owner's `credits` hash: <balance>.b<number> = details of the credit, <balance>.b<number>.ended = the credit
-- as in the list, once it has left it; <balance>:<source> = its number.
-- An entry of a hold names the credit in place of a window: '<balance>:b<number>:<amount>', or
-- '<limit group>><balance>:b<number>:<amount>' for what did not fit into the limit group.
local credits = {
  -- Credits in one list.
  most = 64,
  window = '- lifetime/19700101/99991231T235959',
  -- Stands for no credit.
  none = 'b0',
}

-- 'b'; no other sequence number begins with it.
local credit_byte = 98

function credits.is_credit(seq)
  return string.byte(seq) == credit_byte
end

-- The name of the credit with that number.
function credits.name(number)
  return 'b' .. args.digits(number)
end

-- The limit group (or the balance itself) and the balance of an entry's id.
function credits.parts(id)
  local source, balance = match(id, '^([^>]+)>(.+)$')
  return source or id, balance or id
end

-- A credit of the list, and the rest of the text.
local function read_credit(text)
  local name, amount, left, held, used, lapsed, voided, ends_at, rest =
    match(text, '^(b%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):([^,]+),?(.*)$')
  used, lapsed, voided = used + 0, lapsed + 0, voided + 0
  return {
    name = name, amount = amount + 0, left = left + 0, held = held + 0, used = used, lapsed = lapsed, voided = voided, ends_at = ends_at,
    used_before = used, lapsed_before = lapsed, voided_before = voided, lapsed_at = false,
  }, rest
end

function credits.text(credit)
  return concat({ credit.name, args.digits(credit.amount), args.digits(credit.left), args.digits(credit.held), args.digits(credit.used),
    args.digits(credit.lapsed), args.digits(credit.voided), credit.ends_at }, ':')
end

-- The credit at a place of the list; it is parsed when it is first needed. Nil behind the last.
local function credit_at(balance, place)
  while not balance.items[place] and balance.rest ~= '' do
    local credit
    credit, balance.rest = read_credit(balance.rest)
    balance.items[#balance.items + 1] = credit
  end
  return balance.items[place]
end

-- Parses the whole list, and returns it.
function credits.all(balance)
  credit_at(balance, math.huge)
  return balance.items
end

local function has_end(credit)
  return match(credit.ends_at, '^%d+$') ~= nil
end

local function is_closed(credit)
  return credit.ends_at == 'lapsed' or credit.ends_at == 'voided'
end

-- Whether a credit is used before another.
local function is_before(one, other)
  if is_closed(one) or is_closed(other) then
    return not is_closed(one)
  end
  if one.ends_at ~= other.ends_at then
    return one.ends_at ~= '*' and (other.ends_at == '*' or one.ends_at + 0 < other.ends_at + 0)
  end
  return sub(one.name, 2) + 0 < sub(other.name, 2) + 0
end

-- Puts a credit into its place of the list.
function credits.insert(balance, credit)
  local items = credits.all(balance)
  local place = #items + 1
  while place > 1 and is_before(credit, items[place - 1]) do
    place = place - 1
  end
  table.insert(items, place, credit)
end

-- Lapses what remains of credits that have expired. They are at the beginning.
local function expire(balance, now)
  local first = credit_at(balance, 1)
  while first and has_end(first) and now >= first.ends_at + 0 do
    table.remove(balance.items, 1)
    balance.left = balance.left - first.left
    first.lapsed, first.left = first.lapsed + first.left, 0
    first.lapsed_at, first.ends_at = first.ends_at, 'lapsed'
    credits.insert(balance, first)
    balance.changed = true
    first = credit_at(balance, 1)
  end
end

-- Reads the owner's hash before anything is written: in a cluster, a key that has moved ends the call.
function credits.touch(owner)
  if not owner.touched then
    owner.touched = true
    redis.call('EXISTS', keys.credits(keys.tag(owner.key), owner.word))
  end
end

-- The balance of an owner, from the values of its two fields. It becomes one of the owner's `balances`.
function credits.open(owner, id, value, list, now)
  local used, held, _, seq = account.counter(value or '')
  local left, uncovered, below, low, rest = match(list or '0 0 - -;', '^(%d+) (%d+) (%S+) ([^;]+);(.*)$')
  local balance = {
    id = id, owner = owner, seq = seq or credits.none, used = args.stored(used), held = args.stored(held), left = left + 0, uncovered = uncovered + 0,
    below = below, low = low, rest = rest, items = {}, old = {}, reported = {}, changed = false, open = 0,
    left_before = left + 0, uncovered_before = uncovered + 0,
  }
  owner.now, owner.balances = now, owner.balances or {}
  owner.balances[#owner.balances + 1] = balance
  expire(balance, now)
  if balance.changed then
    credits.touch(owner)
  end
  return balance
end

-- The open balance of that id, or nil.
function credits.opened(owner, id)
  for _, balance in ipairs(owner.balances or {}) do
    if balance.id == id then
      return balance
    end
  end
  return nil
end

-- The balance of that id, which is read unless it is open.
function credits.load(owner, id, now)
  local balance = credits.opened(owner, id)
  if not balance then
    local values = redis.call('HMGET', owner.key, id, id .. '.credits')
    balance = credits.open(owner, id, values[1], values[2], now)
  end
  return balance
end

-- Opens the balances of a proposal's groups. `values`: of the owner's fields.
function credits.read(owner, values, now)
  owner.balances = {}
  for _, kept in ipairs(owner.kept_balances) do
    credits.open(owner, kept.id, values[kept.at], values[kept.at + 1], now).below = kept.below
  end
  for place = 1, #owner.groups do
    local group = owner.groups[place]
    group.balance = group.onto and credits.opened(owner, group.onto)
  end
end

-- What exceeds a limit group's quota.
local function beyond(group)
  if group.quota == false then
    return 0
  end
  local limit = math.min(group.quota + group.granted + group.rolled - group.blocked, args.most)
  return math.max(0, group.amount - math.max(0, limit - group.used - group.held))
end

-- Splits the amounts of a call: sets `over`, what a group takes from its balance. A balance that matches the event
-- itself has no other room, so it is first.
function credits.plan(owner)
  for _, balance in ipairs(owner.balances) do
    balance.open = balance.left
  end
  for round = 1, 2 do
    for place = 1, #owner.groups do
      local group = owner.groups[place]
      if group.balance and group.is_balance == (round == 1) then
        local wanted = math.max(0, group.is_balance and group.amount or beyond(group))
        group.over = math.min(wanted, group.balance.open)
        group.balance.open = group.balance.open - group.over
        if group.over > 0 or group.amount < 0 then
          credits.touch(owner)
        end
      end
    end
  end
end

-- Whether a balance that matches the event lacks the amount. An empty one denies every matching call, as a quota of 0.
function credits.lacks(group)
  return group.is_hard and group.amount >= 0 and (group.balance.left <= 0 or group.over < group.amount)
end

-- Takes an amount from the credits in the order of use. `into`: held or used. Returns what each gave, { name, amount }, and
-- what is missing.
function credits.take(balance, amount, into)
  local parts, place = {}, 1
  while amount > 0 do
    local credit = credit_at(balance, place)
    if not credit then
      break
    end
    local part = math.min(amount, credit.left)
    if part > 0 then
      credit.left, credit[into] = credit.left - part, credit[into] + part
      balance.left, balance[into] = balance.left - part, balance[into] + part
      parts[#parts + 1] = { name = credit.name, amount = part }
      amount, balance.changed = amount - part, true
    end
    place = place + 1
  end
  return parts, amount
end

-- Holds what a group takes from its balance. Returns the entries of the hold: { id, name, amount } each.
function credits.hold(group)
  local id = group.is_balance and group.id or group.id .. '>' .. group.balance.id
  local parts = credits.take(group.balance, group.over, 'held')
  if #parts == 0 then
    parts[1] = { name = credits.none, amount = 0 }
  end
  for _, part in ipairs(parts) do
    part.id = id
  end
  return parts
end

-- Counts an amount as used that no credit covers.
function credits.exceed(balance, amount)
  balance.uncovered, balance.used, balance.changed = balance.uncovered + amount, balance.used + amount, true
end

-- The credit of that name, also if it has ended.
function credits.find(owner, balance, name)
  local place, credit = 1, credit_at(balance, 1)
  while credit and credit.name ~= name do
    place = place + 1
    credit = credit_at(balance, place)
  end
  for _, old in ipairs(balance.old) do
    credit = credit or (old.name == name and old)
  end
  if not credit then
    local key = keys.credits(keys.tag(owner.key), owner.word)
    credit = read_credit(redis.call('HGET', key, balance.id .. '.' .. name .. '.ended') or name .. ':0:0:0:0:0:0:lapsed')
    if has_end(credit) and owner.now >= credit.ends_at + 0 then
      credit.ends_at = 'lapsed'
    end
    balance.old[#balance.old + 1] = credit
  end
  balance.changed = true
  return credit
end

-- Returns an amount to its credit. If that has ended, it lapses or is voided.
local function give_back(balance, credit, amount)
  if is_closed(credit) then
    credit[credit.ends_at] = credit[credit.ends_at] + amount
  else
    credit.left, balance.left = credit.left + amount, balance.left + amount
  end
end

-- Ends the hold of an amount, of which `charged` is used; the rest returns.
function credits.settle(owner, entry, amount, charged)
  if entry.seq == credits.none then
    return
  end
  local balance = entry.balance
  local credit = credits.find(owner, balance, entry.seq)
  local part = math.min(amount, credit.held)
  charged = math.min(charged, part)
  credit.held, balance.held = credit.held - part, math.max(0, balance.held - part)
  credit.used, balance.used = credit.used + charged, balance.used + charged
  give_back(balance, credit, part - charged)
end

-- Charges what was held in a credit once, as far as it remains. Returns the amount.
function credits.charge_again(owner, entry, amount)
  if entry.seq == credits.none then
    return 0
  end
  local balance = entry.balance
  local credit = credits.find(owner, balance, entry.seq)
  local part = math.min(amount, credit.left)
  credit.left, balance.left = credit.left - part, balance.left - part
  credit.used, balance.used = credit.used + part, balance.used + part
  return part
end

-- Refunds a charge to its credit, at most what was used of it. Returns the amount.
function credits.refund(owner, entry, amount)
  local balance, part = entry.balance, 0
  if entry.seq == credits.none then
    part = math.min(amount, balance.uncovered)
    balance.uncovered, balance.changed = balance.uncovered - part, true
  else
    local credit = credits.find(owner, balance, entry.seq)
    part = math.min(amount, credit.used)
    credit.used = credit.used - part
    give_back(balance, credit, part)
  end
  balance.used = balance.used - part
  return part
end

-- Refunds an amount without knowing what was charged: what no credit covered, then to credits of the list, the last first,
-- then to used up ones among the newest. Returns what each got, { name, amount }.
function credits.refund_any(balance, amount)
  local parts = { { name = credits.none, amount = math.min(amount, balance.uncovered) } }
  balance.uncovered, balance.changed = balance.uncovered - parts[1].amount, true
  amount = amount - parts[1].amount
  local function refund(credit)
    local part = is_closed(credit) and 0 or math.min(amount, credit.used)
    if part > 0 then
      credit.used = credit.used - part
      give_back(balance, credit, part)
      parts[#parts + 1] = { name = credit.name, amount = part }
      amount = amount - part
    end
  end
  local items, newest = credits.all(balance), sub(balance.seq, 2) + 0
  for place = #items, 1, -1 do
    refund(items[place])
  end
  for number = newest, math.max(1, newest - credits.most + 1), -1 do
    if amount == 0 then
      break
    end
    refund(credits.find(balance.owner, balance, credits.name(number)))
  end
  for _, part in ipairs(parts) do
    balance.used = balance.used - part.amount
  end
  return parts
end

-- Returns the amounts of expired holds, by credit, to the balance.
function credits.return_expired(owner, balance, amounts)
  for name, amount in pairs(amounts) do
    credits.settle(owner, { seq = name, balance = balance }, amount, 0)
  end
end

-- After a new credit, thresholds below the remaining amount can be reported again.
function credits.arm(balance)
  local low = '-'
  for text in string.gmatch(balance.low ~= '-' and balance.below or '', '%d+') do
    if text + 0 >= balance.low + 0 and text + 0 >= balance.left then
      low = text
    end
  end
  balance.low = low
end

-- Adds a new credit to the list.
function credits.add(balance, amount, ends_at)
  local name = credits.name(sub(balance.seq, 2) + 1)
  local credit = read_credit(concat({ name, amount, amount, '0', '0', '0', '0', ends_at }, ':'))
  credits.insert(balance, credit)
  balance.seq, balance.left, balance.changed = name, balance.left + credit.left, true
  credits.arm(balance)
  return credit
end

-- Removes an amount of what remains of a credit. If it is closed, what comes back later is voided too.
function credits.void(balance, credit, amount, closes)
  credit.left, balance.left, credit.voided = credit.left - amount, balance.left - amount, credit.voided + amount
  if closes and not is_closed(credit) then
    credit.ends_at = 'voided'
    for place, other in ipairs(credits.all(balance)) do
      if other == credit then
        table.remove(balance.items, place)
        credits.insert(balance, credit)
        break
      end
    end
  end
end

-- What expires next: the amount of the first credits with the same expiry, and that time; '' if nothing does.
function credits.next_expiry(balance)
  local place, amount, ends_at = 1, 0, nil
  local credit = credit_at(balance, 1)
  while credit and (not ends_at or credit.ends_at == ends_at) do
    if credit.left > 0 then
      if not has_end(credit) then
        break
      end
      amount, ends_at = amount + credit.left, credit.ends_at
    end
    place = place + 1
    credit = credit_at(balance, place)
  end
  return ends_at and ':' .. args.digits(amount) .. ':' .. ends_at or ''
end
