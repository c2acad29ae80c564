-- The straight path of a reserve, see lib/straight. First it reads and checks every counter; only a call that fits builds
-- what it writes.
local straight_reserve = {}

-- What the code below calls: whatever is rare, or the same for all shapes. `closed`: how many windows the present call closes.
local rare = { nothing = account.nothing, closed = 0 }

-- Whether the index of its scope already has an owner, which is not a user, until the end of this window.
function rare.is_renewed(owner, renewal)
  local rest = owner.account_rest
  if owner.renewal ~= renewal or owner.renewed_rest ~= rest then
    local renew, forget = match(renewal, '^%S+'), owner.forget
    owner.renewal, owner.renewed_rest = renewal, rest
    owner.is_renewed = forget and (forget == 'never' or (renew ~= 'never' and renew + 0 <= forget + 0))
  end
  return owner.is_renewed
end

-- Whether a user, who is forgotten at `known`, stays at least until `forget_at`, as the call requires; see lib/retention.
function rare.is_kept(known, forget_at)
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

-- The sequence number of a window that begins with this call, which may close the stored one: then the group keeps what
-- `counter.close` needs. Nil for a window that does not begin, and for what only the general path begins: a window with
-- alerts or rolled quota, one of an owner that is not a user, and one that closes while something is held in it.
local function begin_window(owner, group, now, value, proposed)
  if not owner.is_user or owner.is_watched or owner.has_alerts or group.rollover then
    return nil
  end
  if not value then
    return counter.first_seq(owner.forget, now)
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
  rare.closed = rare.closed + 1
  closing[rare.closed] = group
  return number
end

-- The parts of a counter whose tail differs from that of the call before: used, held, tail; nothing if the general path must
-- decide. `window_at`: the group's number in the frame, `index`: among those of the owner.
function rare.read_window(owner, index, frame, window_at, value)
  local group, proposed = owner.groups[index], frame[window_at]
  local used, held, tail = match(value or '', straight.counter_pattern)
  local stored, seq = match(tail or '', '^/(%S+ %S+)#(%w+)$')
  local ending = ' '
  if stored ~= proposed then
    ending = rolled_ending(group, stored, proposed)
    if not ending then
      seq = begin_window(owner, group, frame.now, value, proposed)
      if not seq then
        return nil
      end
      used, held, tail, ending = '0', '0', '/' .. proposed .. '#' .. seq, ' '
    end
  end
  frame.tails[window_at], frame.seqs[window_at], frame.ends[window_at] = tail, seq, ending
  return used, held, tail
end

-- Closes the windows that the present call replaces, of a user with this key.
function rare.close_windows(defined, user, key, ttl, now)
  user.key, user.past, user.longest_ttl = key, keys.past(defined.tag, keys.owner_word(key)), math.max(user.longest + 0, ttl + 0)
  for at = 1, rare.closed do
    counter.close(user, closing[at], now)
  end
  if user.expires then
    redis_call('PEXPIRE', user.past, args.digits(clock.ttl(user.forget - now, defined.sandbox)))
  end
end

-- Answers a reserve that does not fit, as lib/admission does.
function rare.deny(defined, now, created, frame)
  local fingerprint, label, memo = ARGV[2], ARGV[6], ARGV[7]
  -- A repetition gets the first answer.
  if defined.general_denials or redis_call('EXISTS', KEYS[1]) == 1 then
    return nil
  end
  local is_kept, counters, over_limit, window_at, number = fingerprint ~= '-', '', '', 1, args.number
  local place = unroll.first_place
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

-- The account's text with a hold until `expires_ms`, or nil if that does not change it.
function rare.account_text(owner, ttl_text, expires_ms, expires_at)
  local longest, expiry_ms = owner.longest, owner.expiry + 0
  local is_first, is_longest = expiry_ms == 0 or expires_ms < expiry_ms, ttl_text ~= longest and ttl_text + 0 > longest + 0
  if not is_first and not is_longest then
    return nil
  end
  longest = is_longest and ttl_text or longest
  return 'v' .. owner.version .. ' expiry=' .. (is_first and expires_at or owner.expiry)
    .. (longest ~= account.usual_ttl and ' ttl=' .. longest or '') .. owner.account_rest
end

-- Decides a reserve. KEYS and ARGV: see reserve.lua.
local decision = [==[
local redis_call, match, sub, unpack, format, args, clock, program, stamp_of, straight, rare = ...
local counter_pattern, account_pattern, nothing = straight.counter_pattern, straight.account_pattern, rare.nothing
local number, text = args.number, args.small

return function(defined)
  local stamp, revision, holds, word_at = defined.stamp, defined.revision, defined.holds, #defined.tag + 9
  local clock_key, sandbox, is_of_user = defined.clock, defined.sandbox, defined.is_of_user
  local last_ttl, life
  each_owner[
  local owner_$o = defined.owners[$o]
  each_group[
  local id_$g, prefix_$g = owner_$o.fields[$i + 1], owner_$o.prefixes[$i]
  ]]

  return function(KEYS, ARGV)
    local frame, now, created = program.frames[ARGV[4]] or program.frame(ARGV[4]), clock.now_ms(clock_key, sandbox)
    if stamp_of(stamp) ~= revision or now < frame.from or now >= frame.upto then
      return nil
    end
    local tails, seqs, ends, ttl = frame.tails, frame.seqs, frame.ends, ARGV[5]
    local is_over, values, rest, limits = false, nil, nil, nil
    each_owner[
    local key_$o, version_$o, expiry_$o = KEYS[$o + 1], nil, nil
    values = redis_call('HMGET', key_$o, '.account' each_group[, id_$g])
    version_$o, expiry_$o, rest = match(values[1] or nothing, account_pattern)
    if rest ~= owner_$o.account_end then
      straight.read_account(owner_$o, rest)
    end
    if owner_$o.is_user then
      if ($o == 1 and version_$o ~= ARGV[3]) or not owner_$o.is_common then
        return nil
      end
    elseif not rare.is_renewed(owner_$o, ARGV[$r]) then
      return nil
    end
    -- A sandbox's clock may stand still, so there each call has to prolong the life of all of an owner's keys.
    if sandbox == 1 and owner_$o.expires then
      return nil
    end
    local word_$o, expiry_ms_$o = sub(key_$o, word_at), expiry_$o + 0
    local holds_$o = holds .. word_$o
    if expiry_ms_$o <= now and expiry_ms_$o > 0 then
      expiry_$o = straight.next_expiry(holds_$o, now)
      if not expiry_$o then
        return nil
      end
      expiry_ms_$o = expiry_$o + 0
    end
    limits = owner_$o.limits
    each_group[
    local used_$g, held_$g, tail_$g = match(values[$i + 1] or '', counter_pattern)
    if tail_$g ~= tails[$g] then
      frame.now = now -- for read_window
      used_$g, held_$g, tail_$g = rare.read_window(owner_$o, $i, frame, $g, values[$i + 1])
      if not tail_$g then
        return nil
      end
    end
    local sum_$g = (number[held_$g] or held_$g + 0) + (number[ARGV[$a]] or ARGV[$a] + 0)
    if (number[used_$g] or used_$g + 0) + sum_$g > limits[$i] then
      is_over = true
    end
    ]]
    -- After the amounts: the node's refusal, forget_at, …, or nothing, see lib/proposal.
    if ARGV[$e] and (ARGV[$e] ~= '' or ARGV[$e + 5] or not rare.is_kept(owner_1.forget, ARGV[$e + 1])) then
      return nil
    end
    local over = nil
    if is_over then
      each_owner[
      owner_$o.word = word_$o
      each_group[
      owner_$o.used[$i], owner_$o.held[$i], owner_$o.sums[$i] = used_$g, held_$g, sum_$g
      ]]
      over = #defined.owners == 1 and owner_1.kept_balances and rare.overflow(owner_1, frame, now)
      if not over then
        return rare.deny(defined, now, created, frame)
      end
      -- Until the lists below are joined; no command of Redis stands in between.
      ARGV[over.place] = over.entries
      each_owner[each_group[
      sum_$g = owner_$o.sums[$i]
      ]]
    end
    local expires_ms = now + ttl
    local expires_at = format('%d', expires_ms)
    if ttl ~= last_ttl then
      last_ttl, life = ttl, args.digits(clock.ttl(ttl + clock.grace_ms, sandbox))
    end
    each_holder[
    each_group[
    held_$g = text[sum_$g] or format('%d', sum_$g)
    ]
    local list_$o = '' each_group[ .. prefix_$g .. seqs[$g] .. ':' .. ARGV[$a]]
    ]
    if over then
      ARGV[over.place] = over.amount
    end
    -- As hold.label does. The first owner's hold reports an expiry.
    local label = ARGV[6]
    if is_of_user then
      label = sub(label, 1, #label - #word_$h + 4)
    end
    local record = 'held ' .. created .. ' ' .. ttl .. ' ' .. ARGV[1] .. (ARGV[2] == '-' and '\n' or ' request=' .. ARGV[2] .. '\n') .. label
      .. '\n' .. ARGV[7] each_holder[ .. '\n' .. word_$o .. ' ' .. list_$o]
    if redis_call('SET', KEYS[1], record, 'NX', 'GET', 'PX', life) then
      return nil
    end
    if rare.closed > 0 then
      rare.close_windows(defined, owner_1, KEYS[2], ttl, now)
    end
    local name, extra, count = sub(KEYS[1], word_at - 5), nil, nil
    each_holder[
    extra, count = owner_$o.extra, over and 4 or 0
    if expires_ms < expiry_ms_$o or expiry_ms_$o == 0 or ttl ~= owner_$o.longest then
      owner_$o.version, owner_$o.expiry = version_$o, expiry_$o
      extra[count + 1], extra[count + 2] = '.account', rare.account_text(owner_$o, ttl, expires_ms, expires_at)
      count = extra[count + 2] and count + 2 or count
    end
    redis_call('HSET', key_$o each_group[, id_$g, used_$g .. '+' .. held_$g .. tail_$g], unpack(extra, 1, count))
    redis_call('ZADD', holds_$o, expires_at, name .. ' ' .. list_$o .. ' ' .. $first(label, '-') .. ' ' .. created)
    if owner_$o.expires then
      -- Redis removes an empty set of holds, and its expiry with it.
      redis_call('PEXPIRE', holds_$o, args.digits(clock.ttl(owner_$o.forget - now, sandbox)))
    end
    ]
    if over then
      ends[over.at] = over.state
    end
    local answer = 'held\n' .. created .. '\n0\n' each_holder[each_group[ .. used_$g .. '+' .. held_$g .. ends[$g]]]
    if over then
      ends[over.at] = ' '
    end
    return answer
  end
end
]==]

rare.overflow = straight_overflow.take

function straight_reserve.decide(defined)
  if not defined.reserve then
    local code = unroll.code('straight_reserve', decision, defined.owners, redis_call, match, sub, unpack, string.format, args, clock, program,
      present.stamp, straight, rare)
    defined.reserve = code(defined)
  end
  rare.closed = 0
  return defined.reserve(KEYS, ARGV)
end
