-- The straight path of a commit and a release, see lib/straight.
local straight_settle = {}

local counter_pattern, account_pattern, next_expiry = straight.counter_pattern, straight.account_pattern, straight.next_expiry

-- What the calls before have left of a record's lines, filled anew by the present one.
local lines = {}

-- Reads the counters that one owner's line of a record names. Returns nil unless all may be settled straight: each group
-- once, nothing in flight, no grants or alerts, and nothing expired.
local function read_line(place, tag, word, list, now, charges)
  local line = lines[place]
  if not line then
    line = { fields = { '.account' }, seqs = {}, amounts = {}, changes = {} }
    lines[place] = line
  end
  local count, fields = 0, line.fields
  for id, seq, amount in string.gmatch(list, '([^:,]+):([^:,]+):(%d+)') do
    if window.is_concurrent(seq) or (count > 0 and fields[count + 1] == id) then
      return nil
    end
    count = count + 1
    fields[count + 1], line.seqs[count], line.amounts[count] = id, seq, amount
  end
  line.count, line.word, line.list = count, word, list
  line.key, line.holds = keys.account(tag, word), keys.holds(tag, word)
  line.values = redis_call('HMGET', line.key, unpack(fields, 1, count + 1))
  local version, expiry, _, rest = match(line.values[1] or account.nothing, account_pattern)
  if rest ~= '' and not match(rest, '^ forget=%S+$') and (charges or rest ~= ' flags=w') then
    return nil
  end
  line.version = version
  return next_expiry(line.holds, expiry, now) and line
end

-- Settles a reservation that is held and not expired. `settled`: see lib/settle. `kind`: commit or release. `totals`: the
-- actual figures by owner and group, or nil for what is held. `memo`: the new one ('' keeps the old one).
function straight_settle.settle(settled, kind, totals, memo, outcome)
  local now = clock.now_ms(keys.of(settled.tag, 'clock'), settled.sandbox)
  local created, life, label, old_memo, owners = match(redis_call('GET', KEYS[1]) or '',
    '^held (%d+) (%d+) 0 %-\n(%S+ %S+ %S+) ([^\n]*)\n(.*)$')
  if created ~= settled.created_at or now >= created + life then
    return nil
  end
  local charges, number = kind == 'commit', args.number
  local name, count, counted, in_ledger, in_record = sub(KEYS[1], #settled.tag + 4), 0, '', '', ''
  for word, list, before in string.gmatch(owners, '([^ \n]+) ([^ \n]+) ([^\n]+)') do
    if before ~= '-' or list == '-' then
      return nil
    end
    count = count + 1
    local line = read_line(count, settled.tag, word, list, now, charges)
    if not line then
      return nil
    end
    local charged, kept = '', list
    if totals or not charges then
      kept = ''
    end
    for at = 1, line.count do
      local id, seq, amount = line.fields[at + 1], line.seqs[at], line.amounts[at]
      local used, held, stored, stored_seq = match(line.values[at + 1] or '', counter_pattern)
      if stored_seq ~= seq then
        return nil
      end
      local charge = charges and (totals and totals[word .. ' ' .. id] or amount) or '0'
      local sum = (number[used] or used + 0) + (number[charge] or charge + 0)
      local left = (number[held] or held + 0) - (number[amount] or amount + 0)
      if left < 0 or sum > counter.most then
        return nil
      end
      local balance, entry = args.digits(sum), (at > 1 and ',' or '') .. id .. ':' .. seq .. ':' .. charge
      local amounts = balance .. '+' .. args.digits(left) .. '/' .. stored
      line.changes[2 * at - 1], line.changes[2 * at] = id, amounts .. '#' .. seq
      counted = counted .. ' ' .. id .. ' ' .. amounts .. ' ' .. word
      local quota = match(stored, '^%d+')
      charged = charged .. entry .. ':' .. balance .. ':' .. (quota or '-')
      if quota and ledger.is_near(sum, number[quota] or quota + 0) then
        charged = charged .. ':' .. window.bounds(stored)
      end
      if kept ~= list then
        kept = kept .. entry
      end
    end
    in_ledger = in_ledger .. (count > 1 and ' ' or '') .. word .. ' ' .. charged
    in_record = in_record .. '\n' .. word .. ' - ' .. kept
  end
  local others = ' - ' .. created
  for at = 2, count do
    if not redis_call('ZSCORE', lines[at].holds, name .. ' ' .. lines[at].list .. others) then
      return nil
    end
  end
  -- Removing the hold decides; nothing was written before.
  if redis_call('ZREM', lines[1].holds, name .. ' ' .. lines[1].list .. ' ' .. label .. ' ' .. created) ~= 1 then
    return nil
  end
  for at = 1, count do
    local line = lines[at]
    if at > 1 then
      redis_call('ZREM', line.holds, name .. ' ' .. line.list .. others)
    end
    redis_call('HSET', line.key, unpack(line.changes, 1, 2 * line.count))
  end
  if memo == '' then
    memo = old_memo
  end
  ledger.write(kind, now, '0', name .. ' ' .. created, label, in_ledger, memo, settled.told)
  local status, request = charges and 'committed' or 'released', label .. ' ' .. memo
  local record = status .. ' ' .. created .. ' ' .. life .. (charges and ' 1 -' or ' 0 -') .. (outcome ~= '-' and ' ' .. outcome or '')
    .. '\n' .. request .. in_record
  if settled.operation_key then
    redis_call('SET', KEYS[1], record, 'PX', operation.record_ttl(created + life, now, settled.sandbox))
  else
    redis_call('SET', KEYS[1], record, 'KEEPTTL')
  end
  return { 'settled', now, status, 0, 0, request, lines[1].version, '', counted }
end
