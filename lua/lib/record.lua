-- A reservation's record, one line each:
--   reservation
--   <fingerprint>
--   <status> <created_at_ms> <expires_at_ms> <changes>[ late][ accepted| rejected]
--   <operation> <event> <key> <user>
--   <memo>
--   per owner: <counters> <holds> <past> <held entries|-> <charged entries|->
-- status: held, committed or released; changes: draws and amount extensions so far, so that nobody computes on
-- an older memo. An entry is <group>:<serial>:<amount>; entries of one owner are separated by commas.
local record = {}

local function parse_entries(list)
  local entries = {}
  if list ~= '-' then
    for group, serial, amount in hold.entries(list) do
      entries[#entries + 1] = { group = group, serial = serial, amount = args.stored(amount) }
    end
  end
  return entries
end

local function format_entries(entries)
  local list = {}
  for place = 1, #entries do
    local entry = entries[place]
    list[place] = string.format('%s:%s:%d', entry.group, entry.serial, entry.amount)
  end
  return #list > 0 and table.concat(list, ',') or '-'
end

-- Answers nil unless it is a reservation created at `created_at` (an id carries its creation time).
function record.load(key, created_at)
  local text = redis.call('GET', key)
  if not text or string.sub(text, 1, 12) ~= 'reservation\n' then
    return nil
  end
  local fingerprint, status_line, subject, memo
  local at = 13
  fingerprint, at = args.cut(text, at, '\n')
  status_line, at = args.cut(text, at, '\n')
  subject, at = args.cut(text, at, '\n')
  memo, at = args.cut(text, at, '\n')
  local status, created, expires, changes, flags = string.match(status_line, '^(%a+) (%d+) (%d+) (%d+)(.*)$')
  if created ~= created_at then
    return nil
  end
  local loaded = {
    key = key, fingerprint = fingerprint, status = status, created_at = created, expires_at = args.stored(expires),
    changes = args.stored(changes), late = string.find(flags, 'late', 1, true) ~= nil,
    outcome = flags ~= '' and (string.match(flags, 'accepted') or string.match(flags, 'rejected')) or '-',
    subject = subject, memo = memo, name = false, about = false, op = false, owners = {},
  }
  local name, behind = args.cut(subject, 1, ' ')
  loaded.name, loaded.about, loaded.op = name, string.sub(subject, behind), name .. ' ' .. created
  while at <= #text do
    local counters, holds, past, held, charged
    counters, at = args.cut(text, at, ' ')
    holds, at = args.cut(text, at, ' ')
    past, at = args.cut(text, at, ' ')
    held, at = args.cut(text, at, ' ')
    charged, at = args.cut(text, at, '\n')
    -- The first owner's hold tells an expiry.
    local about = (#loaded.owners == 0 and loaded.about or '-') .. ' ' .. created
    loaded.owners[#loaded.owners + 1] = {
      counters = counters, holds = holds, past = past, held = parse_entries(held), charged = parse_entries(charged),
      about = about, member = name .. ' ' .. held .. ' ' .. about,
    }
  end
  return loaded
end

function record.save(loaded, px)
  local flags = (loaded.late and ' late' or '') .. (loaded.outcome ~= '-' and ' ' .. loaded.outcome or '')
  local lines = {
    'reservation', loaded.fingerprint,
    loaded.status .. ' ' .. loaded.created_at .. ' ' .. args.digits(loaded.expires_at) .. ' ' .. args.digits(loaded.changes) .. flags,
    loaded.subject, loaded.memo,
  }
  for at = 1, #loaded.owners do
    local owner = loaded.owners[at]
    lines[#lines + 1] = owner.counters .. ' ' .. owner.holds .. ' ' .. owner.past
      .. ' ' .. format_entries(owner.held) .. ' ' .. format_entries(owner.charged)
  end
  if px then
    redis.call('SET', loaded.key, table.concat(lines, '\n'), 'PX', args.digits(px))
  else
    redis.call('SET', loaded.key, table.concat(lines, '\n'), 'KEEPTTL')
  end
end

-- The member of the owner's holds that stands for what this reservation holds now.
function record.member(loaded, owner)
  return loaded.name .. ' ' .. format_entries(owner.held) .. ' ' .. owner.about
end

-- Whether the owner's hold is still there; `member` is then the one that is.
function record.is_live(owner)
  if redis.call('ZSCORE', owner.holds, owner.member) then
    return true
  end
  -- Releases before this one ended it with '-' alone, except of the first owner.
  local before = string.match(owner.member, '^(%S+ %S+ %-) %d+$')
  if before and redis.call('ZSCORE', owner.holds, before) then
    owner.member = before
    return true
  end
  return false
end
