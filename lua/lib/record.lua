-- A reservation's record, one line each:
--   <status> <created_at_ms> <life_ms> <program|->[ changes=<n>][ request=<fingerprint>][ late][ accepted| rejected]; only
--     the straight path writes the name of the program, the general path '-'; without an idempotency key the fingerprint is
--     left out
--   the label of the call, as in the first owner's hold (lib/hold)
--   <memo>: the request (src/store/metering/request_snapshot.rs)
--   per owner, named as in the ledger: <owner> <held entries|->[ <charged entries>]
-- Its name is that of its own key, '…:op:<name>'. It expires `life_ms` after it was created.
-- status: held, committed or released. The straight path replaces only the word 'held': with 'used' (committed; the held
-- entries are the charged ones) or 'free' (released). A released reservation holds nothing, whatever its held entries are.
-- changes: draws and amount extensions so far, so that nothing is computed from an older memo. An entry is
-- <group>:<seq>:<amount>, or in a credit as lib/credits says; entries of one owner are separated by commas.
--
-- Loaded, an owner has entries: one for each group and seq, with the amount that the reservation holds there (`holds`,
-- false: no entry) and what it has charged there (`charged`, false: no entry); lib/settle adds the counter's state.
-- An entry in a credit has the id of its balance (`onto`); its `source` is the limit group that overflowed, or the balance;
-- `change` is what the present call charges there.
local record = {}

-- What the straight path writes for a status.
local in_place = { used = 'committed', free = 'released' }

local most_spare = 64

local function find_entry(entries, id, seq)
  for at = 1, #entries do
    local entry = entries[at]
    if entry.id == id and entry.seq == seq then
      return entry
    end
  end
  return nil
end

-- Entries of earlier calls, and how many of them the present call uses: refilling a table is cheaper than creating one.
local spare, taken = {}, 0

-- Adds the entry of a group and seq. `text`: an amount as it is written, `amount`.
local function add_entry(entries, id, seq, text, amount)
  taken = taken + 1
  local entry = spare[taken]
  if not entry then
    entry = {
      id = id, seq = seq, source = id, onto = false, balance = false, change = 0, holds = false, charged = false, text = false,
      amount = false, names = false, closed = false,
      used = 0, held = 0, before = 0, granted = 0, blocked = 0, rolled = 0, window = false,
    }
    if taken <= most_spare then
      spare[taken] = entry
    end
  end
  entry.id, entry.seq, entry.text, entry.amount = id, seq, text, amount
  entry.holds, entry.charged, entry.closed, entry.window = false, false, false, false
  entry.used, entry.held, entry.before, entry.granted, entry.blocked, entry.rolled = 0, 0, 0, 0, 0, 0
  entry.source, entry.onto, entry.balance, entry.change = id, false, false, 0
  if credits.is_credit(seq) then
    entry.source, entry.onto = credits.parts(id)
  end
  entries[#entries + 1] = entry
  return entry
end

local function parse_entries(entries, list, field)
  if list == '-' or list == '' then
    return
  end
  local others, place = #entries, 1
  for id, seq, text in hold.entries(list) do
    local amount, entry = args.stored(text), entries[place]
    -- Both lists have the same order, so it is mostly the next one.
    if not entry or entry.id ~= id or entry.seq ~= seq then
      entry = others > 0 and find_entry(entries, id, seq) or add_entry(entries, id, seq, text, amount)
    end
    entry[field] = (entry[field] or 0) + amount
    place = place + 1
  end
end

-- The entries of an owner's line.
function record.entries(held, charged)
  local entries = {}
  parse_entries(entries, held, 'holds')
  parse_entries(entries, charged, 'charged')
  return entries
end

-- An amount that has not changed is not formatted again.
local function format_entries(entries, field)
  local list = {}
  for at = 1, #entries do
    local entry = entries[at]
    local amount = entry[field]
    if amount then
      list[#list + 1] = entry.id .. ':' .. entry.seq .. ':' .. (amount == entry.amount and entry.text or args.digits(amount))
    end
  end
  return #list > 0 and table.concat(list, ',')
end

-- The entry of a group and seq, which is added if there is none.
function record.entry(owner, id, seq)
  return find_entry(owner.entries, id, seq) or add_entry(owner.entries, id, seq, false, false)
end

-- Adds to what the reservation holds in a group.
function record.hold(owner, id, seq, amount)
  local entry = record.entry(owner, id, seq)
  entry.holds = (entry.holds or 0) + amount
end

-- How the first line goes on after the program: with changes, fingerprint, and '' or ' …'.
function record.rest(changes, fingerprint, flags)
  return (changes > 0 and ' changes=' .. args.digits(changes) or '') .. (fingerprint ~= '-' and ' request=' .. fingerprint or '') .. flags
end

-- Returns nil unless it is a reservation created at `created_at` (an id carries its creation time).
function record.load(key, created_at)
  local text = redis.call('GET', key)
  local first, at = args.cut(text or '', 1, '\n')
  local status, created, life, rest = string.match(first, '^(%a+) (%d+) (%d+) %S+(.*)$')
  if created ~= created_at then
    return nil
  end
  taken = 0
  local loaded = {
    key = key, fingerprint = string.match(rest, ' request=(%S+)') or '-', status = in_place[status] or status, created_at = created, expires_at = created + life,
    changes = args.stored(string.match(rest, ' changes=(%d+)')), late = string.find(rest, ' late', 1, true) ~= nil,
    outcome = rest ~= '' and (string.match(rest, ' (accepted)') or string.match(rest, ' (rejected)')) or '-',
    label = false, about = false, memo = false, name = false, op = false, owners = {},
  }
  loaded.label, at = args.cut(text, at, '\n')
  loaded.memo, at = args.cut(text, at, '\n')
  local tag = keys.tag(key)
  local name = string.sub(key, #tag + 4)
  loaded.name, loaded.op = name, name .. ' ' .. created
  while at <= #text do
    local line
    line, at = args.cut(text, at, '\n')
    local owner, held, charged = string.match(line, '^(%S+) (%S+) ?(%S*)$')
    -- The first owner's hold reports an expiry.
    local about = (#loaded.owners == 0 and loaded.label or '-') .. ' ' .. created
    if status == 'used' then
      held, charged = '-', held
    end
    local entries = record.entries(held, charged)
    for place = 1, loaded.status == 'released' and #entries or 0 do
      entries[place].holds, entries[place].charged = false, entries[place].charged or 0
    end
    loaded.owners[#loaded.owners + 1] = {
      word = owner, key = keys.account(tag, owner), holds = keys.holds(tag, owner), past = keys.past(tag, owner),
      entries = entries, groups = false, about = about,
      member = name .. ' ' .. held .. ' ' .. about, live = false, stored = false, version = false, next_expiry = 0, longest_ttl = 0, forget_at = false,
      adjusted = false, watched = false, balances = false, touched = false, now = 0,
    }
  end
  loaded.about = hold.about(loaded.label, loaded.owners[1].word)
  return loaded
end

function record.save(loaded, px)
  local flags = (loaded.late and ' late' or '') .. (loaded.outcome ~= '-' and ' ' .. loaded.outcome or '')
  local text = loaded.status .. ' ' .. loaded.created_at .. ' ' .. args.digits(loaded.expires_at - loaded.created_at) .. ' -'
    .. record.rest(loaded.changes, loaded.fingerprint, flags) .. '\n' .. loaded.label .. '\n' .. loaded.memo
  for at = 1, #loaded.owners do
    local owner = loaded.owners[at]
    local charged = format_entries(owner.entries, 'charged')
    text = text .. '\n' .. owner.word .. ' ' .. (format_entries(owner.entries, 'holds') or '-') .. (charged and ' ' .. charged or '')
  end
  if px then
    redis.call('SET', loaded.key, text, 'PX', args.digits(px))
  else
    redis.call('SET', loaded.key, text, 'KEEPTTL')
  end
end

-- The member of the owner's holds for what this reservation holds now.
function record.member(loaded, owner)
  return loaded.name .. ' ' .. (format_entries(owner.entries, 'holds') or '-') .. ' ' .. owner.about
end

-- Whether the owner's hold is still there.
function record.is_live(owner)
  return redis.call('ZSCORE', owner.holds, owner.member) and true or false
end
