-- The straight path of a reserve, see lib/straight. What it keeps of the present call is in the program's owners.
local straight_reserve = {}

local counter_pattern, account_pattern = straight.counter_pattern, straight.account_pattern

-- Answers a reserve that does not fit, as lib/admission does. `place`: that of the first owner's part of ARGV.
local function deny(defined, now, created, frame, place)
  -- A repetition gets the first answer.
  if defined.tells_denials or redis_call('EXISTS', KEYS[1]) == 1 then
    return nil
  end
  local counters, lacks, window_at = '', '', 1
  for at = 1, #defined.owners do
    local owner = defined.owners[at]
    local list = ''
    place = place + (owner.is_user and 0 or 1)
    for index, group in ipairs(owner.groups) do
      local used, held, amount = owner.used[index], owner.held[index], ARGV[place]
      local is_over = used + held + amount > group.limit
      counters = counters .. used .. '+' .. held .. (is_over and '! ' or ' ')
      if is_over then
        list = list .. (list == '' and '' or ',') .. group.id .. ':' .. amount .. ':' .. args.digits(used + held) .. ':' .. group.limit_text
        if ledger.is_near(used, group.limit) then
          list = list .. ':' .. used .. ':' .. window.bounds(frame[window_at])
        end
      end
      group.amount_text, group.window = amount, frame[window_at]
      place, window_at = place + 1, window_at + 1
    end
    if list ~= '' then
      lacks = lacks .. (lacks == '' and '' or ' ') .. owner.word .. ' ' .. list
    end
  end
  ledger.write_denial(defined.denials, created, 'reserve', ARGV[6], 'limit_reached', lacks, ARGV[7])
  if ARGV[2] ~= '-' then
    return operation.keep(KEYS[1], ARGV[2], { 'denied', now, 0, '', 0, '', sub(counters, 1, -2) }, defined.owners)
  end
  return 'denied\n' .. created .. '\n0\n\n0\n\n' .. sub(counters, 1, -2)
end

-- Whether an owner that is no user need not be renewed: it is in its index until the end of this window already.
local function is_renewed(owner, renewal, rest)
  if owner.renewal ~= renewal or owner.rest ~= rest then
    local renew, forget = match(renewal, '^%S+'), match(rest, '^ forget=(%S+)$')
    owner.renewal, owner.rest, owner.forget = renewal, rest, forget
    owner.is_renewed = forget and (forget == 'never' or (renew ~= 'never' and renew + 0 <= forget + 0))
  end
  return owner.is_renewed
end

-- Decides a reserve. ARGV as in reserve.lua; `first` is the place of the first owner's part.
function straight_reserve.decide(defined, first)
  local frame, now, created = program.frame(ARGV[4]), clock.now_ms(defined.clock, defined.sandbox)
  if redis_call('GET', defined.stamp) ~= defined.revision or now < frame.from or now >= frame.upto then
    return nil
  end
  local owners, ttl_text, number, text = defined.owners, ARGV[5], args.number, args.small
  local expires_ms, tag_length = now + ttl_text, #defined.tag
  local expires_at = args.digits(expires_ms)
  local place, window_at, is_over, counters, lines = first, 1, false, '', ''
  local tails, seqs = frame.tails, frame.seqs
  for at = 1, #owners do
    local owner, key = owners[at], KEYS[at + 1]
    local changes, limits, prefixes, all_used, all_held = owner.changes, owner.limits, owner.prefixes, owner.used, owner.held
    local values = redis_call('HMGET', key, unpack(owner.fields))
    local version, expiry, longest, rest = match(values[1] or account.nothing, account_pattern)
    if owner.is_user then
      if (at == 1 and version ~= ARGV[3]) or (rest ~= '' and rest ~= ' flags=w') then
        return nil
      end
    else
      if not is_renewed(owner, ARGV[place], rest) then
        return nil
      end
      place = place + 1
    end
    local word, list, count = sub(key, tag_length + 9), '', 0
    local holds = defined.holds .. word
    local first_expiry = expiry + 0
    if first_expiry > 0 and first_expiry <= now then
      expiry = straight.next_expiry(holds, now)
      if not expiry then
        return nil
      end
      first_expiry = expiry + 0
    end
    for index = 1, #limits do
      local used, held, tail = match(values[index + 1] or '', counter_pattern)
      if tail ~= tails[window_at] then
        local window, seq = match(tail or '', '^/(%S+ %S+)#(%w+)$')
        if window ~= frame[window_at] then
          return nil
        end
        tails[window_at], seqs[window_at] = tail, seq
      end
      local amount = ARGV[place]
      local sum = (number[held] or held + 0) + (number[amount] or amount + 0)
      if (number[used] or used + 0) + sum > limits[index] then
        is_over = true
      end
      local amounts = used .. '+' .. (text[sum] or args.digits(sum))
      count = count + 2
      changes[count], all_used[index], all_held[index] = amounts .. tail, used, held
      counters = counters .. amounts .. ' '
      list = list .. prefixes[index] .. seqs[window_at] .. ':' .. amount
      place, window_at = place + 1, window_at + 1
    end
    if count > 0 then
      lines = lines .. '\n' .. word .. ' ' .. list .. ' -'
      local is_first, is_longest = first_expiry == 0 or expires_ms < first_expiry, ttl_text ~= longest and ttl_text + 0 > longest + 0
      if is_first or is_longest then
        changes[count + 1] = '.account'
        changes[count + 2] = 'version=' .. version .. ' expiry=' .. (is_first and expires_at or expiry) .. ' ttl='
          .. (is_longest and ttl_text or longest) .. rest
        count = count + 2
      end
    end
    owner.word, owner.list, owner.count, owner.set_of_holds = word, list, count, holds
  end
  if ARGV[place] and (ARGV[place] ~= '' or ARGV[place + 1] ~= '-') then
    return nil
  end
  if is_over then
    return deny(defined, now, created, frame, first)
  end
  local label = ARGV[6]
  local record = 'held ' .. created .. ' ' .. ttl_text .. ' 0 ' .. ARGV[2] .. ' ' .. ARGV[1] .. '\n' .. label .. '\n' .. ARGV[7] .. lines
  if defined.ttl_text ~= ttl_text then
    defined.ttl_text, defined.life = ttl_text, args.digits(clock.ttl(ttl_text + clock.grace_ms, defined.sandbox))
  end
  if redis_call('SET', KEYS[1], record, 'NX', 'GET', 'PX', defined.life) then
    return nil
  end
  local name, about = sub(KEYS[1], tag_length + 4), ' ' .. label .. ' ' .. created
  for at = 1, #owners do
    local owner = owners[at]
    local count, holds = owner.count, owner.set_of_holds
    if count > 0 then
      redis_call('HSET', KEYS[at + 1], unpack(owner.changes, 1, count))
      redis_call('ZADD', holds, expires_at, name .. ' ' .. owner.list .. about)
      if not owner.is_user and owner.forget ~= 'never' then
        -- The set of holds begins anew whenever it was empty.
        if defined.sandbox == 0 then
          redis_call('PEXPIREAT', holds, owner.forget)
        else
          redis_call('PEXPIRE', holds, args.digits(clock.ttl(owner.forget - now, defined.sandbox)))
        end
      end
      about = ' - ' .. created
    end
  end
  return 'held\n' .. created .. '\n0\n' .. counters
end
