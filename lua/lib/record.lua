-- A reservation's record, one line each:
--   reservation
--   <fingerprint>
--   <status> <created_at_ms> <expires_at_ms> <changes>[ late][ accepted| rejected]
--   <event> <key> <user> <memo>
--   per owner, named as in the ledger: <owner> <held entries|-> <charged entries|->
-- Its name and the beginning of its owners' keys are those of its own key, '…:op:<name>'.
-- status: held, committed or released; changes: draws and amount extensions so far, so that nobody computes on
-- an older memo. An entry is <group>:<serial>:<amount>; entries of one owner are separated by commas.
--
-- Loaded, an owner has accounts: one for each group and serial, with the amount that the reservation holds there (`holds`,
-- false: no entry) and what it has charged there (`charged`, false: no entry); lib/settle adds what the counter stands at.
local record = {}

local most_spare = 64

local function find(accounts, id, serial)
  for at = 1, #accounts do
    local account = accounts[at]
    if account.id == id and account.serial == serial then
      return account
    end
  end
  return nil
end

-- Accounts that the calls before have left, and how many of them the present one has taken: filling a table anew is
-- cheaper than making it.
local spare, taken = {}, 0

function record.begin()
  taken = 0
end

-- Adds the account of a group and serial. `text`: an amount as it is written, `amount`.
local function add_account(accounts, id, serial, text, amount)
  taken = taken + 1
  local account = spare[taken]
  if not account then
    account = {
      id = id, serial = serial, holds = false, charged = false, text = false, amount = false, names = false, past = false,
      used = 0, held = 0, before = 0, granted = 0, blocked = 0, bounds = false,
    }
    if taken <= most_spare then
      spare[taken] = account
    end
  end
  account.id, account.serial, account.text, account.amount, account.names = id, serial, text, amount, names.of(id)
  account.holds, account.charged, account.past, account.bounds = false, false, false, false
  account.used, account.held, account.before, account.granted, account.blocked = 0, 0, 0, 0, 0
  accounts[#accounts + 1] = account
  return account
end

local function parse_entries(accounts, list, field)
  if list == '-' then
    return
  end
  local others, place = #accounts, 1
  for id, serial, text in hold.entries(list) do
    local amount, account = args.stored(text), accounts[place]
    -- Both lists have one order, so it is mostly the next one.
    if not account or account.id ~= id or account.serial ~= serial then
      account = others > 0 and find(accounts, id, serial) or add_account(accounts, id, serial, text, amount)
    end
    account[field] = (account[field] or 0) + amount
    place = place + 1
  end
end

-- An amount that is as it was read needs no writing anew.
local function format_entries(accounts, field)
  local list = {}
  for at = 1, #accounts do
    local account = accounts[at]
    local amount = account[field]
    if amount then
      list[#list + 1] = account.id .. ':' .. account.serial .. ':' .. (amount == account.amount and account.text or args.digits(amount))
    end
  end
  return #list > 0 and table.concat(list, ',') or '-'
end

-- Adds to what the reservation holds of a group.
function record.hold(owner, id, serial, amount)
  local account = find(owner.accounts, id, serial) or add_account(owner.accounts, id, serial, false, false)
  account.holds = (account.holds or 0) + amount
end

-- Answers nil unless it is a reservation created at `created_at` (an id carries its creation time).
function record.load(key, created_at)
  local text = redis.call('GET', key)
  if not text or string.sub(text, 1, 12) ~= 'reservation\n' then
    return nil
  end
  local fingerprint, status_line, request
  local at = 13
  fingerprint, at = args.cut(text, at, '\n')
  status_line, at = args.cut(text, at, '\n')
  request, at = args.cut(text, at, '\n')
  local status, created, expires, changes, flags = string.match(status_line, '^(%a+) (%d+) (%d+) (%d+)(.*)$')
  if created ~= created_at then
    return nil
  end
  local loaded = {
    key = key, fingerprint = fingerprint, status = status, created_at = created, expires_at = args.stored(expires),
    changes = args.stored(changes), late = string.find(flags, 'late', 1, true) ~= nil,
    outcome = flags ~= '' and (string.match(flags, 'accepted') or string.match(flags, 'rejected')) or '-',
    about = false, memo = false, name = false, op = false, owners = {},
  }
  loaded.about, loaded.memo = string.match(request, '^(%S+ %S+ %S+) (.*)$')
  local tag, name = string.match(key, '^(.-}:)op:(.*)$')
  loaded.name, loaded.op = name, name .. ' ' .. created
  while at <= #text do
    local owner, held, charged
    owner, at = args.cut(text, at, ' ')
    held, at = args.cut(text, at, ' ')
    charged, at = args.cut(text, at, '\n')
    -- The first owner's hold tells an expiry.
    local about = (#loaded.owners == 0 and loaded.about or '-') .. ' ' .. created
    local accounts = {}
    parse_entries(accounts, held, 'holds')
    parse_entries(accounts, charged, 'charged')
    loaded.owners[#loaded.owners + 1] = {
      word = owner, counters = tag .. 'counters:' .. owner, holds = tag .. 'holds:' .. owner, past = tag .. 'past:' .. owner,
      accounts = accounts, groups = false, about = about,
      member = name .. ' ' .. held .. ' ' .. about, live = false, last_expiry = 0, version = false, adjusted = false,
      watched = false,
    }
  end
  return loaded
end

function record.save(loaded, px)
  local flags = (loaded.late and ' late' or '') .. (loaded.outcome ~= '-' and ' ' .. loaded.outcome or '')
  local text = 'reservation\n' .. loaded.fingerprint .. '\n' .. loaded.status .. ' ' .. loaded.created_at .. ' '
    .. args.digits(loaded.expires_at) .. ' ' .. args.digits(loaded.changes) .. flags .. '\n' .. loaded.about .. ' ' .. loaded.memo
  for at = 1, #loaded.owners do
    local owner = loaded.owners[at]
    text = text .. '\n' .. owner.word .. ' ' .. format_entries(owner.accounts, 'holds') .. ' '
      .. format_entries(owner.accounts, 'charged')
  end
  if px then
    redis.call('SET', loaded.key, text, 'PX', args.digits(px))
  else
    redis.call('SET', loaded.key, text, 'KEEPTTL')
  end
end

-- The member of the owner's holds that stands for what this reservation holds now.
function record.member(loaded, owner)
  return loaded.name .. ' ' .. format_entries(owner.accounts, 'holds') .. ' ' .. owner.about
end

-- Whether the owner's hold is still there.
function record.is_live(owner)
  return redis.call('ZSCORE', owner.holds, owner.member) and true or false
end
