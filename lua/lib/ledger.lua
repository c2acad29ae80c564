-- The ledger: one entry per call that changes `used` (or ends a reservation), written in the step that makes the
-- change, so that `used` can be recomputed; and the stream of denials, apart, so that a flood of them evicts no charge.
-- An entry has one field, 'entry', since each further field costs every writer and reader. Its lines:
--   '<type> <at ms> <late 0|1> <operation> <created at ms> <event> <key> <user>' ('-' where unknown)
--   charges: '<owner> <group>:<sequence number>:<change>:<used after it>:<limit|->,… <owner> …' or '-' (a release, which
--     charges nothing); of an expiry the held amounts: '<group>:<seq>:<amount>,…'
--   memo, except for an expiry
--   what the call sent (JSON), if there is anything
-- After the limit of a counter follows ':<its window>' if three quarters of the limit are used, or ':closed' if it was
-- charged in a window that is closed.
-- The lines of a denial: 'denial <at ms> <call> <event> <key> <user> <reason>'; counters over their limit '<owner>
-- <group>:<requested>:<counted>:<limit>,… …' or '-'; memo; and, written in the same way, the counters of groups that only
-- observe and would have denied the call, if there are any. After the limit follows ':<used>:<window>' if three quarters
-- of it are used. The first line begins with 'observed' instead of 'denial' if the call was allowed.
-- Both streams are bounded; the ledger by `most` entries. Entries of layout 6 have a field for each part.
local ledger = { key = false, most = '0', most_denials = '100000', charges = {} }

-- The stream for the present call's entries, and its maximum length (text).
function ledger.open(key, most)
  ledger.key, ledger.most = key, most
  if #ledger.charges > 0 then
    ledger.charges = {}
  end
end

-- Three quarters of the limit: once so much is used, folding records the counter as one near its limit.
function ledger.near_from(limit)
  return limit * 3 / 4
end

function ledger.is_near(used, limit)
  return used >= ledger.near_from(limit)
end

-- `change`, `balance` and `limit` (quota plus grants; '-' without a limit) are texts.
function ledger.charge(group, seq, change, balance, limit)
  return group .. ':' .. seq .. ':' .. change .. ':' .. balance .. ':' .. limit
end

-- What the next entry says about one owner: a list of `ledger.charge`.
function ledger.add(word, charges)
  if #charges > 0 then
    ledger.charges[#ledger.charges + 1] = word
    ledger.charges[#ledger.charges + 1] = table.concat(charges, ',')
  end
end

-- After a tab the memo has what only settling needs.
function ledger.without_rules(memo)
  local tab = find(memo, '\t', 1, true)
  return tab and sub(memo, 1, tab - 1) or memo
end

local function add(key, most, entry)
  redis_call('XADD', key, 'MAXLEN', '~', most, '*', 'entry', entry)
end

-- `head`: the entry's first line, see above.
function ledger.write(head, charges, memo, details)
  add(ledger.key, ledger.most, head .. '\n' .. charges .. '\n' .. ledger.without_rules(memo) .. (details == '' and '' or '\n' .. details))
end

-- `source`: what is charged, with op '<operation> <created at ms>', about '<event> <key> <user>' and memo.
function ledger.append(kind, now, late, source, details)
  local charges = kind ~= 'release' and #ledger.charges > 0 and table.concat(ledger.charges, ' ') or '-'
  local head = kind .. ' ' .. args.digits(now) .. ' ' .. (late and '1' or '0') .. ' ' .. source.op .. ' ' .. source.about
  ledger.write(head, charges, source.memo, details)
end

function ledger.expire(expired_at, op, about, held)
  add(ledger.key, ledger.most, 'expire ' .. expired_at .. ' 0 ' .. op .. ' ' .. about .. '\n' .. held)
end

-- `head`: the entry's first line; `over_limit`: the state of each counter over its limit; `observed`: that of the counters
-- that only observe, or nothing; see above.
function ledger.write_denial(key, head, over_limit, memo, observed)
  add(key, ledger.most_denials, head .. '\n' .. over_limit .. '\n' .. ledger.without_rules(memo) .. (observed and '\n' .. observed or ''))
end

-- The owners' lists of counters, see above.
local function listed(owners, name)
  local lists = {}
  for at = 1, #owners do
    local owner = owners[at]
    if owner[name] then
      lists[#lists + 1] = owner.word .. ' ' .. table.concat(owner[name], ',')
    end
  end
  return #lists > 0 and table.concat(lists, ' ') or '-'
end

local function denial_head(kind, refused, now, reason)
  return kind .. ' ' .. args.digits(now) .. ' ' .. refused.call .. ' ' .. refused.about .. ' ' .. reason
end

-- `refused`: key of the stream, and call, about and memo of the request; `owners`: with their counters over the limit.
function ledger.deny(refused, now, reason, owners)
  local over_limit, observed = listed(owners, 'over_limit'), listed(owners, 'observed')
  ledger.write_denial(refused.key, denial_head('denial', refused, now, reason), over_limit, refused.memo, observed ~= '-' and observed)
end

-- The call was allowed, but groups that only observe would have denied it.
function ledger.observe(refused, now, reason, owners)
  ledger.write_denial(refused.key, denial_head('observed', refused, now, reason), '-', refused.memo, listed(owners, 'observed'))
end
