-- Converts values of layout 6 to the present layout, for lua/migrate.lua, which stores them. Only this file, that one,
-- src/store/client/migrate.rs and src/cli/migrate.rs know layout 6. Ledger, denials, rollups, indexes and configuration are
-- the same in both layouts. Holds stay as they are, with the user in their labels, and so do the labels of their records.
-- Values of closed windows, approvals and grants that already have the present layout stay unchanged. A value that
-- cannot be read becomes nil.
local layout6 = {}

-- '20270131T100000Z' without trailing zeros.
local function time(text)
  local date, rest = string.match(text, '^(%d%d%d%d%d%d%d%d)T(%d%d%d%d%d%d)Z$')
  if not date then
    return text
  end
  rest = string.gsub(rest, '00$', '')
  return rest == '0000' and date or date .. 'T' .. rest
end

local function bounds(kind, start, finish)
  return kind .. '/' .. time(start) .. '/' .. time(finish)
end

-- A user's subscription, from the fields of the account. Times were in RFC 3339.
function layout6.subscription(stored)
  local function compact(text)
    return text and time((string.gsub(text, '[-:]', ''))) or '-'
  end
  local cycle, ends = compact(stored.cycle), compact(stored['until'])
  return stored.plan .. ' ' .. compact(stored.since) .. (cycle .. ends ~= '--' and ' ' .. cycle .. ' ' .. ends or '')
end

-- '<kind> <start> <end> <quota|-> …'
local function window_of(text)
  local kind, start, finish, quota = string.match(text, '^(%a+) (%S+) (%S+) (%S+)')
  return kind and quota .. ' ' .. bounds(kind, start, finish)
end

-- A counter from its fields: '<seq> <kind> <start> <end> <quota|->', used and held (nil: 0).
function layout6.counter(stored, used, held)
  local seq, rest = string.match(stored, '^(c?%d+) (.*)$')
  local found = seq and window_of(rest)
  return found and account.counter_text(args.stored(used), args.stored(held), found, seq)
end

-- A closed window: '<used> <kind> <start> <end> <quota|-> <granted> <keep until>'.
function layout6.closed(value)
  if string.find(value, '^%d+ %S+ %a+/%S+/%S+ %d+ %d+$') then
    return value
  end
  local used, rest, granted, keep_until = string.match(value, '^(%d+) (%a+ %S+ %S+ %S+) (%d+) (%d+)$')
  return used and used .. ' ' .. window_of(rest) .. ' ' .. granted .. ' ' .. keep_until
end

-- <group>.approval: '<seq|-> <id> <open|rejected> <kind> <start> <end>'.
function layout6.approval_mark(value)
  local mark, kind, start, finish = string.match(value, '^(%S+ %S+ %S+) (%a+) (%S+) (%S+)$')
  return mark and mark .. ' ' .. bounds(kind, start, finish)
end

-- The key of an owner's counters, and what follows it: '<tag>counters:<owner>…'.
local function account_key(text)
  return (string.gsub(text, '^([^}]*}:)counters:', '%1account:'))
end

-- An entry of the bucket's approvals: '<status> <opened>', '<counters key> <group> <kind> <start> <end>', other lines; or
-- 'open:<user>' = '<id>@<end> …'.
function layout6.approval(field, value)
  if string.sub(field, 1, 5) == 'open:' then
    return (string.gsub(value, '@(%S+)', function(finish) return '@' .. time(finish) end))
  end
  if string.find(value, '^%S+ %d+\n%S+ %S+ %a+/%S+\n') then
    return value
  end
  local first, owner, kind, start, finish, rest = string.match(value, '^(%S+ %d+)\n(%S+ %S+) (%a+) (%S+) (%S+)(\n.*)$')
  return first and first .. '\n' .. account_key(owner) .. ' ' .. bounds(kind, start, finish) .. rest
end

-- An entry of the bucket's grants: '<counters key> <group>\n…'.
function layout6.grant(value)
  return account_key(value)
end

-- The record of an operation: 'reservation\n<fingerprint>\n<status> <created> <expires> <changes>[ late][ <outcome>]\n
-- <event> <key> <user> <memo>\n<owner> <held> <charged>\n…'. Returns what `record.save` takes.
local function reservation(key, text)
  local fingerprint, status, created, expires, changes, flags, about, memo, owners = string.match(text,
    '^reservation\n([^\n]*)\n(%a+) (%d+) (%d+) (%d+)([^\n]*)\n(%S+ %S+ %S+) ([^\n]*)(.*)$')
  if not fingerprint then
    return nil
  end
  local loaded = {
    key = key, fingerprint = fingerprint, status = status, created_at = created, expires_at = args.stored(expires),
    changes = args.stored(changes), late = string.find(flags, 'late', 1, true) ~= nil,
    outcome = string.match(flags, 'accepted') or string.match(flags, 'rejected') or '-', label = about, memo = memo, owners = {},
  }
  for word, held, charged in string.gmatch(owners, '\n(%S+) (%S+) (%S+)') do
    loaded.owners[#loaded.owners + 1] = { word = word, entries = record.entries(held, charged) }
  end
  return loaded
end

local function split(text, mark)
  local parts, at = {}, 1
  repeat
    parts[#parts + 1], at = args.cut(text, at, mark)
  until at > #text + 1
  return parts
end

-- Used, held, granted and blocked of `count` groups, `step` parts each, from `from` on; the fifth says whether the
-- limit was exceeded.
local function stands(parts, from, count, step)
  local list = {}
  for place = 1, count do
    local at = from + (place - 1) * step
    local group = { used = args.stored(parts[at]), held = args.stored(parts[at + 1]), granted = args.stored(parts[at + 2]),
      blocked = args.stored(parts[at + 3]), rolled = 0 }
    list[place] = counter.state(group) .. (step == 5 and parts[at + 4] == '1' and '!' or '')
  end
  return table.concat(list, ' ')
end

-- The groups as they were proposed: '<id> <amount> <limit> <kind> <start> <end> <quota>,…'.
local function proposed(text)
  local groups = {}
  for part in string.gmatch(text, '[^,]+') do
    local group, rest = string.match(part, '^(%S+ %S+ %S+) (.*)$')
    groups[#groups + 1] = group .. ' ' .. window_of(rest)
  end
  return table.concat(groups, ',')
end

-- '<event> <key> <user>' and the memo.
local function request_parts(text)
  return string.match(text, '^(%S+ %S+ %S+) (.*)$')
end

-- Per entry: group, used, held, granted, blocked, '<kind> <start> <end> <quota> …', key of the counters. The sequence
-- number is no longer known, and is not read from a stored answer.
local function settled_entries(parts)
  local list, before = {}, false
  for at = 9, #parts, 7 do
    local _, last = string.find(parts[at + 6], '}:counters:', 1, true)
    local word = string.sub(parts[at + 6], last + 1)
    if word ~= before then
      list[#list + 1], before = (before and '; ' or '') .. word, word
    end
    list[#list + 1] = parts[at] .. ' ' .. stands(parts, at + 1, 1, 4) .. '/' .. window_of(parts[at + 5]) .. '#0'
  end
  return table.concat(list, ' ')
end

-- By the first part of an answer: the converted parts, or nil if they have the present layout.
local answers = {}

function answers.denied(parts)
  local count = string.match(parts[7] or '', '^%d+$')
  if not count then
    return nil
  end
  local anew = { unpack(parts, 1, 6) }
  anew[7] = stands(parts, 8, args.stored(count), 5)
  local groups = parts[8 + 5 * count]
  anew[8] = groups and proposed(groups)
  return anew
end

function answers.tracked(parts)
  if #parts == 8 then
    return nil
  end
  local count = math.floor((#parts - 5) / 4)
  local anew, rest = { unpack(parts, 1, 5) }, 5 + 4 * count
  anew[6] = stands(parts, 6, count, 4)
  anew[7] = #parts == rest + 2 and parts[rest + 1] or ''
  anew[8] = #parts > rest and proposed(parts[#parts]) or ''
  return anew
end

function answers.settled(parts)
  if #parts == 10 then
    return nil
  end
  local anew = { unpack(parts, 1, 5) }
  anew[6], anew[7] = request_parts(parts[6])
  anew[8], anew[9], anew[10] = parts[7], parts[8], settled_entries(parts)
  return anew
end

function answers.extended(parts)
  if #parts == 7 then
    return nil
  end
  local anew, count = { unpack(parts, 1, 3) }, (#parts - 5) / 4
  anew[4], anew[5] = request_parts(parts[4])
  anew[6], anew[7] = stands(parts, 5, count, 4), proposed(parts[#parts])
  return anew
end

-- Converts the record of an operation. Returns 'converted', 'present' or 'unreadable'.
function layout6.operation(key, is_dry)
  local text = redis.call('GET', key)
  if not text then
    return 'present'
  end
  if string.sub(text, 1, 12) == 'reservation\n' then
    local loaded = reservation(key, text)
    if loaded and not is_dry then
      record.save(loaded)
    end
    return loaded and 'converted' or 'unreadable'
  end
  local first, fingerprint, answer = string.match(text, '^(answer)\n([^\n]*)\n(.*)$')
  local parts = first and split(answer, '\n') or {}
  local status = parts[1]
  local convert = answers[status]
  local anew = convert and convert(parts)
  if not anew then
    return 'present'
  end
  if not is_dry then
    redis.call('SET', key, first .. '\n' .. fingerprint .. '\n' .. table.concat(anew, '\n'), 'KEEPTTL')
  end
  return 'converted'
end
