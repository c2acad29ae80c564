-- The straight path of a reserve, see lib/straight.
local straight_reserve = {}

local counter_pattern, account_pattern, next_expiry = straight.counter_pattern, straight.account_pattern, straight.next_expiry

-- What is written of each owner, filled anew by each call.
local changes, entries, counts, words, lives = {}, {}, {}, {}, {}

local function changes_of(place)
  local of = changes[place]
  if not of then
    of = {}
    changes[place] = of
  end
  return of
end

-- Answers a reserve that does not fit, as lib/admission does.
local function deny(defined, now, label, memo)
  -- A repetition gets the first answer.
  if redis_call('EXISTS', KEYS[1]) == 1 then
    return nil
  end
  local counted, lacks = '', ''
  for at = 1, #defined.owners do
    local groups, list = defined.owners[at].groups, ''
    for index = 1, #groups do
      local group = groups[index]
      counted = counted .. (counted == '' and '' or ' ') .. group.used .. '+' .. group.held .. (group.lacks and '!' or '')
      if group.lacks then
        list = list .. (list == '' and '' or ',') .. group.id .. ':' .. group.amount_text .. ':'
          .. args.digits(group.used + group.held) .. ':' .. group.limit_text
        if ledger.is_near(group.used, group.limit) then
          list = list .. ':' .. group.used .. ':' .. window.bounds(group.window)
        end
      end
    end
    if list ~= '' then
      lacks = lacks .. (lacks == '' and '' or ' ') .. words[at] .. ' ' .. list
    end
  end
  ledger.write_denial(defined.denials, now, 'reserve', label, 'limit_reached', lacks, memo)
  return operation.keep(KEYS[1], ARGV[2], { 'denied', now, 0, '', 0, '', counted }, defined.owners)
end

-- Decides a reserve. ARGV as in reserve.lua; `place` is that of the first owner's part.
function straight_reserve.decide(defined, place)
  local frame, ttl_text, label, memo = program.frame(ARGV[4]), ARGV[5], ARGV[6], ARGV[7]
  local now = clock.now_ms(defined.clock, defined.sandbox)
  if redis_call('GET', KEYS[2]) ~= defined.revision or now < frame.from or now >= frame.upto then
    return nil
  end
  local owners, number, tag_length, ttl = defined.owners, args.number, #defined.tag, ttl_text + 0
  local expires_ms = now + ttl
  local created, expires_at = args.digits(now), args.digits(expires_ms)
  local key, window_at, over, counted, lines = 3, 0, false, '', ''
  for at = 1, #owners do
    local owner = owners[at]
    local values = redis_call('HMGET', KEYS[key], unpack(owner.fields))
    local version, expiry, longest, rest = match(values[1] or account.nothing, account_pattern)
    if owner.is_user then
      if (at == 1 and version ~= ARGV[3]) or (rest ~= '' and rest ~= ' flags=w') then
        return nil
      end
    else
      -- An owner that expires is in its index until the end of this window already.
      local renew, forget = match(ARGV[place], '^%S+'), match(rest, '^ forget=(%S+)$')
      if not forget or (forget ~= 'never' and (renew == 'never' or renew + 0 > forget + 0)) then
        return nil
      end
      lives[at], place = forget, place + 1
    end
    expiry = next_expiry(KEYS[key + 1], expiry, now)
    if not expiry then
      return nil
    end
    local of, list, groups, count = changes_of(at), '', owner.groups, 0
    for index = 1, #groups do
      local group, amount, wanted = groups[index], ARGV[place], frame[window_at + index]
      local used, held, stored, seq = match(values[index + 1] or '', counter_pattern)
      if stored ~= wanted then
        return nil
      end
      local total = (number[held] or held + 0) + (number[amount] or amount + 0)
      if (number[used] or used + 0) + total > group.limit then
        if group.approval or group.tell_limit then
          return nil
        end
        over, group.lacks = true, true
      else
        group.lacks = false
      end
      group.used, group.held, group.window, group.amount_text = used, held, stored, amount
      local amounts = used .. '+' .. args.digits(total)
      of[count + 1], of[count + 2] = group.id, amounts .. '/' .. stored .. '#' .. seq
      counted = counted .. amounts .. ' '
      list = list .. group.prefix .. seq .. ':' .. amount
      place, count = place + 1, count + 2
    end
    window_at = window_at + #groups
    words[at] = sub(KEYS[key], tag_length + 9)
    if count > 0 then
      local is_first = expiry == '0' or expires_ms < expiry + 0
      local is_longest = ttl_text ~= longest and ttl > longest + 0
      if is_first or is_longest then
        of[count + 1] = '.account'
        of[count + 2] = 'version=' .. version .. ' expiry=' .. (is_first and expires_at or expiry) .. ' ttl='
          .. (is_longest and ttl_text or longest) .. rest
        count = count + 2
      end
      lines = lines .. '\n' .. words[at] .. ' ' .. list .. ' -'
    end
    entries[at], counts[at] = list, count
    key = key + 2
  end
  if ARGV[place] and (ARGV[place] ~= '' or ARGV[place + 1] ~= '-') then
    return nil
  end
  if over then
    return deny(defined, now, label, memo)
  end
  local record = 'held ' .. created .. ' ' .. ttl_text .. ' 0 ' .. ARGV[2] .. '\n' .. label .. ' ' .. memo .. lines
  if redis_call('SET', KEYS[1], record, 'NX', 'GET', 'PX', clock.ttl(ttl + clock.grace_ms, defined.sandbox)) then
    return nil
  end
  local name, about = sub(KEYS[1], tag_length + 4), label
  key = 3
  for at = 1, #owners do
    local count = counts[at]
    if count > 0 then
      redis_call('HSET', KEYS[key], unpack(changes[at], 1, count))
      redis_call('ZADD', KEYS[key + 1], expires_at, name .. ' ' .. entries[at] .. ' ' .. about .. ' ' .. created)
      if not owners[at].is_user and lives[at] ~= 'never' then
        -- The set of holds begins anew whenever it was empty.
        redis_call('PEXPIRE', KEYS[key + 1], args.digits(clock.ttl(lives[at] - now, defined.sandbox)))
      end
      about = '-'
    end
    key = key + 2
  end
  return { 'held', created, 0, counted }
end
