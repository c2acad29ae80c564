-- The straight path of a commit and a release, see lib/straight. The record names the program of its reserve.
local straight_settle = {}

-- What the code below calls.
local rare = { nothing = account.nothing, most = counter.most }

-- The limit of a window with that quota, see window.rolled. `rolled` is nil if nothing was rolled over into it.
local function with_rolled(quota, rolled)
  if not rolled or quota == '-' or quota == '0' then
    return quota
  end
  return args.digits(math.min(quota + rolled, counter.most))
end

-- The totals that the caller sent for an owner's groups, '<owner> <group>:<total>,…'; nil if it sent other groups.
function rare.read_figures(owner, word)
  for place = 10, #ARGV do
    local figures = { match(ARGV[place], owner.figures_pattern) }
    if figures[1] == word then
      return figures
    end
  end
  return nil
end

-- Keeps what the tail of a group's counter says, until a counter with another one is settled.
function rare.read_tail(owner, index, tail)
  local quota, rest, bounds, seq = match(tail or '', '^/([%d-]+)(%S*) (%S+)#(%w+)$')
  if rest and rest ~= '' then
    quota = with_rolled(quota, match(rest, '^%+(%d+)'))
  end
  owner.tails[index], owner.quotas[index], owner.seqs[index], owner.windows[index] = tail or false, quota, seq, bounds
  local limit = quota and quota ~= '-' and quota + 0 or math.huge
  owner.settled_limits[index], owner.near_from[index] = limit, ledger.near_from(limit)
end

-- Settles a reservation that is held and not expired. `text`: its record; `charges`: whether this is a commit. KEYS and ARGV
-- as in commit.lua. The general path must settle what was reserved in other windows than those that are stored.
local settling = [==[
local redis_call, match, find, sub, args, clock, ledger, operation, straight, rare = ...
local counter_pattern, account_pattern, nothing, most = straight.counter_pattern, straight.account_pattern, rare.nothing, rare.most
local number, text_of = args.number, args.small

return function(defined)
  local accounts, holds, name_at = defined.accounts, defined.holds, #defined.tag + 4
  local clock_key, sandbox, is_of_user = defined.clock, defined.sandbox, defined.is_of_user
  local ledger_key, ledger_most = defined.ledger, defined.ledger_most
  each_holder[
  local owner_$o = defined.owners[$o]
  each_group[
  local id_$g, prefix_$g = owner_$o.fields[$i + 1], owner_$o.prefixes[$i]
  ]]

  return function(text, charges, KEYS, ARGV)
    local created, life, request, label_start = match(text, '^held (%d+) (%d+) %S+([^\n]*)\n()')
    if created ~= ARGV[2] or (KEYS[2] and redis_call('EXISTS', KEYS[2]) == 1) then
      return nil
    end
    local now, at_ms = clock.now_ms(clock_key, sandbox)
    if now >= created + life then
      return nil
    end
    local label_end = find(text, '\n', label_start, true)
    local memo_end = find(text, '\n', label_end + 1, true)
    local label, memo = sub(text, label_start, label_end - 1), sub(text, label_end + 1, memo_end - 1)
    local operation_name, position = sub(KEYS[1], name_at), memo_end
    each_holder[
    local word_$o, key_$o, holds_$o, member_$o, version_$o, held_$o, charged_$o
    each_group[
    local state_$g
    ]
    do
      local word, from each_group[, seq_$g, amount_$g], upto = match(text, owner_$o.held_pattern, position)
      if not word then
        return nil
      end
      local figures = charges and ARGV[10] and rare.read_figures(owner_$o, word)
      if charges and ARGV[10] and not figures then
        return nil
      end
      word_$o, key_$o, holds_$o, held_$o, position = word, accounts .. word, holds .. word, sub(text, from, upto - 1), upto
      member_$o = operation_name .. ' ' .. held_$o .. ' ' .. $first(label, '-') .. ' ' .. created
      local values, expiry, rest = redis_call('HMGET', key_$o, '.account' each_group[, id_$g]), nil, nil
      version_$o, expiry, rest = match(values[1] or nothing, account_pattern)
      if rest ~= owner_$o.account_end then
        straight.read_account(owner_$o, rest)
      end
      if not owner_$o.is_common or (charges and owner_$o.is_watched) then
        return nil
      end
      if expiry ~= '0' and expiry + 0 <= now and not straight.next_expiry(holds_$o, now) then
        return nil
      end
      local tails, quotas, seqs, near_from, sum = owner_$o.tails, owner_$o.quotas, owner_$o.seqs, owner_$o.near_from, nil
      each_group[
      local used_$g, left_$g, tail_$g = match(values[$i + 1] or '', counter_pattern)
      if tail_$g ~= tails[$i] then
        rare.read_tail(owner_$o, $i, tail_$g)
      end
      if not tail_$g or seqs[$i] ~= seq_$g then
        return nil
      end
      left_$g = (number[left_$g] or left_$g + 0) - (number[amount_$g] or amount_$g + 0)
      if left_$g < 0 then
        return nil
      end
      local near_$g = ''
      if charges then
        if figures then
          amount_$g = figures[$i + 1]
        end
        sum = (number[used_$g] or used_$g + 0) + (number[amount_$g] or amount_$g + 0)
        -- A balance may have to take over.
        if sum > most or (figures and owner_$o.groups[$i].onto and sum + left_$g > owner_$o.settled_limits[$i]) then
          return nil
        end
        if sum >= near_from[$i] then
          near_$g = ':' .. owner_$o.windows[$i]
        end
        used_$g = text_of[sum] or args.digits(sum)
      end
      state_$g = used_$g .. '+' .. (text_of[left_$g] or args.digits(left_$g)) .. tail_$g
      ]
      if charges then
        charged_$o = word .. ' ' each_group[ .. prefix_$g .. seq_$g .. ':' .. amount_$g .. ':' .. used_$g .. ':' .. quotas[$i] .. near_$g]
      end
      if figures then
        held_$o = '' each_group[ .. prefix_$g .. seq_$g .. ':' .. amount_$g]
      end
    end
    -- Removing the first hold decides, before anything is written. The others must not fail after that, so they are looked up.
    if $first(false, true) and not redis_call('ZSCORE', holds_$o, member_$o) then
      return nil
    end
    ]
    -- The record has other entries, of credits.
    if position <= #text then
      return nil
    end
    each_holder[
    if redis_call('ZREM', holds_$o, member_$o) ~= 1 then
      return nil
    end
    redis_call('HSET', key_$o each_group[, id_$g, state_$g])
    ]
    local about = is_of_user and label .. ' ' .. sub(word_$h, 6) or label
    if ARGV[5] then
      if ARGV[9] ~= '' then
        memo = ARGV[9]
      end
      redis_call('SET', KEYS[1], 'committed ' .. created .. ' ' .. life .. ' - changes=1' .. request .. (ARGV[7] == '-' and '' or ' ' .. ARGV[7])
        .. '\n' .. label .. '\n' .. memo each_holder[ .. '\n' .. word_$o .. ' - ' .. held_$o], 'KEEPTTL')
    else
      -- Only its first word changes.
      redis_call('SETRANGE', KEYS[1], '0', charges and 'used' or 'free')
    end
    -- As ledger.write does.
    local told, details, entry = ledger.without_rules(memo), ARGV[3] == '' and '' or '\n' .. ARGV[3], nil
    if charges then
      entry = 'commit ' .. at_ms .. ' 0 ' .. operation_name .. ' ' .. created .. ' ' .. about each_holder[ .. $first('\n', ' ') .. charged_$o]
        .. '\n' .. told .. details
    else
      entry = 'release ' .. at_ms .. ' 0 ' .. operation_name .. ' ' .. created .. ' ' .. about .. '\n-\n' .. told .. details
    end
    redis_call('XADD', ledger_key, 'MAXLEN', '~', ledger_most, '*', 'entry', entry)
    local answer = 'settled\n' .. at_ms .. (charges and '\ncommitted\n0\n0\n' or '\nreleased\n0\n0\n') .. about .. '\n' .. memo .. '\n'
      .. version_$h .. '\n' each_holder[ .. $first('\n', ' ; ') .. word_$o each_group[ .. ' ' .. id_$g .. ' ' .. state_$g]]
    if KEYS[2] then
      redis_call('PEXPIRE', KEYS[1], args.digits(operation.record_ttl(created + life, now, sandbox)))
      return operation.keep(KEYS[2], ARGV[4], answer)
    end
    return answer
  end
end
]==]

-- Settles by a commit, or else a release.
function straight_settle.settle(is_commit)
  local text = redis_call('GET', KEYS[1])
  local defined = text and program.known[match(text, '^held %d+ %d+ (%S+)') or '']
  if not defined or not defined.straight then
    return nil
  end
  if not defined.settle then
    local code = unroll.code('straight_settle', settling, defined.owners, redis_call, match, find, sub, args, clock, ledger, operation, straight,
      rare)
    defined.settle = code(defined)
  end
  return defined.settle(text, is_commit, KEYS, ARGV)
end
