-- The straight path of a reserve, see lib/straight. First it reads and checks every counter; only a call that fits builds
-- what it writes. What it keeps of the present call is in the program's owners.
local straight_reserve = {}

local counter_pattern, account_pattern, watched = straight.counter_pattern, straight.account_pattern, straight.watched

-- Whether the index of its scope already has an owner, which is not a user, until the end of this window.
local function is_renewed(owner, renewal, rest)
  if owner.renewal ~= renewal or owner.rest ~= rest then
    local renew, forget = match(renewal, '^%S+'), match(rest, '^ forget=(%S+)$')
    owner.renewal, owner.rest, owner.forget = renewal, rest, forget
    owner.is_renewed = forget and (forget == 'never' or (renew ~= 'never' and renew + 0 <= forget + 0))
  end
  return owner.is_renewed
end

-- Whether a user, who is forgotten at `known`, stays at least until `forget_at`, as the call requires; see lib/retention.
local function is_kept(known, forget_at)
  if forget_at == '-' or known == 'never' then
    return true
  end
  return known and forget_at ~= 'never' and forget_at + 0 <= known + 0
end

-- For a stored window that differs from the proposed one only in its rolled quota: the end of its counter's state,
-- '+0+0+<rolled> ' (see counter.state). Nil for any other window. A call that needs the rolled quota is left to the general
-- path.
local function rolled_ending(group, stored, proposed)
  if not stored or not group.rollover or window.with_rolled(stored, '') ~= proposed then
    return nil
  end
  return '+0+0+' .. args.digits(window.rolled(stored)) .. ' '
end

-- Groups whose windows close with the present call, followed by leftovers of others.
local closing = {}

-- The sequence number of a window that begins with this call, and whether it closes one that is stored: then the group
-- keeps what `counter.close` needs. Nil for a window that is none of them, and for what only the general path begins: a
-- window with alerts or rolled quota, one of an owner that is not a user, and one that closes while something is held in it.
local function begin_window(owner, group, now, value, proposed)
  if not owner.is_user or owner.account_rest == watched or owner.has_alerts or group.rollover then
    return nil
  end
  if not value then
    return counter.first_seq(owner.forget, now), false
  end
  local used, held, stored, seq = account.counter(value)
  if held ~= '0' or window.is_concurrent(seq) then
    return nil
  end
  local number, change = window.resolve(seq, stored, proposed)
  if change ~= 'turned' then
    return nil
  end
  group.stored, group.stored_seq, group.closed_used, group.closed_held = stored, seq, used, 0
  return number, true
end

-- Answers a reserve that does not fit, as lib/admission does. `place`: of the first owner's part in ARGV.
local function deny(defined, now, created, frame, place)
  local fingerprint, label, memo = ARGV[2], ARGV[6], ARGV[7]
  -- A repetition gets the first answer.
  if defined.general_denials or redis_call('EXISTS', KEYS[1]) == 1 then
    return nil
  end
  local is_kept, counters, over_limit, window_at, number = fingerprint ~= '-', '', '', 1, args.number
  for at = 1, #defined.owners do
    local owner = defined.owners[at]
    local groups, limits, used_texts, held_texts, sums, list = owner.groups, owner.limits, owner.used, owner.held, owner.sums, ''
    place = place + (owner.is_user and 0 or 1)
    for index = 1, #groups do
      -- What was rolled over may have room, also if the group has no rollover any more.
      if frame.ends[window_at] ~= ' ' then
        return nil
      end
      local group, amount, limit = groups[index], ARGV[place], limits[index]
      local used_text, held_text, mark = used_texts[index], held_texts[index], ' '
      local used = number[used_text] or used_text + 0
      if used + sums[index] > limit then
        mark = '! '
        list = (list == '' and '' or list .. ',') .. group.id .. ':' .. amount .. ':' .. args.digits(used + held_text) .. ':' .. group.limit_text
        if ledger.is_near(used, limit) then
          list = list .. ':' .. used_text .. ':' .. frame.bounds[window_at]
        end
      end
      counters = counters .. used_text .. '+' .. held_text .. mark
      if is_kept then
        group.amount_text, group.window = amount, frame[window_at]
      end
      place, window_at = place + 1, window_at + 1
    end
    if list ~= '' then
      over_limit = (over_limit == '' and '' or over_limit .. ' ') .. owner.word .. ' ' .. list
    end
  end
  ledger.write_denial(defined.denials, 'denial ' .. created .. ' reserve ' .. label .. ' limit_reached', over_limit, memo)
  counters = sub(counters, 1, -2)
  if is_kept then
    return operation.keep(KEYS[1], fingerprint, { 'denied', now, 0, '', 0, '', counters }, defined.owners)
  end
  return 'denied\n' .. created .. '\n0\n\n0\n\n' .. counters
end

-- The account's text if a hold until `expires_ms` changes it, else nil.
local function account_text(owner, ttl_text, expires_ms, expires_at)
  local longest, expiry_ms = owner.longest, owner.expiry_ms
  local is_first, is_longest = expiry_ms == 0 or expires_ms < expiry_ms, ttl_text ~= longest and ttl_text + 0 > longest + 0
  if not is_first and not is_longest then
    return nil
  end
  longest = is_longest and ttl_text or longest
  return 'v' .. owner.version .. ' expiry=' .. (is_first and expires_at or owner.expiry)
    .. (longest ~= account.usual_ttl and ' ttl=' .. longest or '') .. owner.account_rest
end

-- Decides a reserve. KEYS and ARGV: see reserve.lua.
function straight_reserve.decide(defined)
  local program_name, fingerprint, user_version, ttl_text, label, memo = ARGV[1], ARGV[2], ARGV[3], ARGV[5], ARGV[6], ARGV[7]
  local first_owner = 8
  local frame, now, created = program.frame(ARGV[4]), clock.now_ms(defined.clock, defined.sandbox)
  if redis_call('GET', defined.stamp) ~= defined.revision or now < frame.from or now >= frame.upto then
    return nil
  end
  local owners, tag_length, number, tails, seqs = defined.owners, #defined.tag, args.number, frame.tails, frame.seqs
  local ends = frame.ends
  local place, window_at, is_over, closed = first_owner, 1, false, 0
  for at = 1, #owners do
    local owner, key = owners[at], KEYS[at + 1]
    local values = redis_call('HMGET', key, unpack(owner.fields))
    local version, expiry, account_end = match(values[1] or account.nothing, account_pattern)
    local rest = straight.account_rest(owner, account_end)
    if owner.is_user then
      owner.forget = rest ~= '' and match(rest, '^ forget=(%S+)$')
      if (at == 1 and version ~= user_version) or (rest ~= '' and rest ~= watched and not owner.forget) then
        return nil
      end
    else
      if not is_renewed(owner, ARGV[place], rest) then
        return nil
      end
      place = place + 1
    end
    -- A sandbox's clock may stand still, so there each call has to prolong the life of all of an owner's keys.
    if owner.forget and owner.forget ~= 'never' and defined.sandbox == 1 then
      return nil
    end
    local word = sub(key, tag_length + 9)
    local holds, expiry_ms = defined.holds .. word, expiry + 0
    if expiry_ms > 0 and expiry_ms <= now then
      expiry = straight.next_expiry(holds, now)
      if not expiry then
        return nil
      end
      expiry_ms = expiry + 0
    end
    owner.word, owner.set_of_holds, owner.version = word, holds, version
    owner.expiry, owner.expiry_ms = expiry, expiry_ms
    local limits, used_texts, held_texts, sums = owner.limits, owner.used, owner.held, owner.sums
    for index = 1, #limits do
      local used, held, tail = match(values[index + 1] or '', counter_pattern)
      if tail ~= tails[window_at] then
        local stored, seq = match(tail or '', '^/(%S+ %S+)#(%w+)$')
        local ending, group, proposed = ' ', owner.groups[index], frame[window_at]
        if stored ~= proposed then
          ending = rolled_ending(group, stored, proposed)
          if not ending then
            local closes
            seq, closes = begin_window(owner, group, now, values[index + 1], proposed)
            if not seq then
              return nil
            end
            if closes then
              closed = closed + 1
              closing[closed] = group
            end
            used, held, tail, ending = '0', '0', '/' .. proposed .. '#' .. seq, ' '
          end
        end
        tails[window_at], seqs[window_at], ends[window_at] = tail, seq, ending
      end
      local amount = ARGV[place]
      local sum = (number[held] or held + 0) + (number[amount] or amount + 0)
      if (number[used] or used + 0) + sum > limits[index] then
        is_over = true
      end
      used_texts[index], held_texts[index], sums[index] = used, held, sum
      place, window_at = place + 1, window_at + 1
    end
  end
  -- What follows the amounts may be left out, see lib/proposal.
  if ARGV[place] and (ARGV[place] ~= '' or ARGV[place + 5] or not is_kept(owners[1].forget, ARGV[place + 1])) then
    return nil
  end
  local over_place, over_amounts, over_state, balance_text, credits_text
  if is_over then
    if #owners == 1 and owners[1].kept_balances then
      local first_amount = first_owner + (owners[1].is_user and 0 or 1)
      over_place, over_amounts, over_state, balance_text, credits_text = straight_overflow.take(owners[1], frame, now, first_amount)
    end
    if not over_place then
      return deny(defined, now, created, frame, first_owner)
    end
  end
  local expires_ms = now + ttl_text
  local expires_at = args.digits(expires_ms)
  local counters, lines, text, first, held_label = '', '', args.small, nil, nil
  place, window_at = first_owner, 1
  for at = 1, #owners do
    local owner = owners[at]
    local changes, prefixes, used_texts, sums, list, count = owner.changes, owner.prefixes, owner.used, owner.sums, '', 0
    place = place + (owner.is_user and 0 or 1)
    for index = 1, #prefixes do
      local used, sum, state, amounts = used_texts[index], sums[index], ends[window_at], ARGV[place]
      local held = text[sum] or args.digits(sum)
      count = count + 2
      changes[count] = used .. '+' .. held .. tails[window_at]
      if place == over_place then
        state, amounts = over_state, over_amounts
      end
      counters, list = counters .. used .. '+' .. held .. state, list .. prefixes[index] .. seqs[window_at] .. ':' .. amounts
      place, window_at = place + 1, window_at + 1
    end
    if over_place then
      local balance = owner.kept_balances[1]
      changes[count + 1], changes[count + 2], changes[count + 3], changes[count + 4] = balance.id, balance_text, balance.list, credits_text
      count = count + 4
    end
    if count > 0 then
      if first then
        lines = lines .. '\n' .. owner.word .. ' ' .. list
      else
        -- As hold.label does.
        first, held_label = owner, defined.is_of_user and sub(label, 1, #label - #owner.word + 4) or label
      end
      local changed = account_text(owner, ttl_text, expires_ms, expires_at)
      if changed then
        changes[count + 1], changes[count + 2] = '.account', changed
        count = count + 2
      end
    end
    owner.list, owner.count = list, count
  end
  local request = fingerprint == '-' and '\n' or ' request=' .. fingerprint .. '\n'
  local text_of_record = 'held ' .. created .. ' ' .. ttl_text .. ' ' .. program_name .. request .. held_label .. '\n' .. memo
    .. '\n' .. first.word .. ' ' .. first.list .. lines
  if defined.ttl_text ~= ttl_text then
    defined.ttl_text, defined.life = ttl_text, args.digits(clock.ttl(ttl_text + clock.grace_ms, defined.sandbox))
  end
  if redis_call('SET', KEYS[1], text_of_record, 'NX', 'GET', 'PX', defined.life) then
    return nil
  end
  if closed > 0 then
    -- Only a user's windows close here.
    local user = owners[1]
    user.key, user.past, user.longest_ttl = KEYS[2], keys.past(defined.tag, user.word), math.max(user.longest + 0, ttl_text + 0)
    for at = 1, closed do
      counter.close(user, closing[at], now)
    end
    if user.forget and user.forget ~= 'never' then
      redis_call('PEXPIRE', user.past, args.digits(clock.ttl(user.forget - now, defined.sandbox)))
    end
  end
  local name = sub(KEYS[1], tag_length + 4)
  for at = 1, #owners do
    local owner = owners[at]
    local count, holds = owner.count, owner.set_of_holds
    if count > 0 then
      redis_call('HSET', KEYS[at + 1], unpack(owner.changes, 1, count))
      -- The first owner's hold reports an expiry.
      redis_call('ZADD', holds, expires_at, name .. ' ' .. owner.list .. ' ' .. (owner == first and held_label or '-') .. ' ' .. created)
      if owner.forget and owner.forget ~= 'never' then
        -- The set of holds begins anew whenever it was empty.
        redis_call('PEXPIRE', holds, args.digits(clock.ttl(owner.forget - now, defined.sandbox)))
      end
    end
  end
  return 'held\n' .. created .. '\n0\n' .. counters
end
