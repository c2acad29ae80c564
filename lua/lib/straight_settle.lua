-- The straight path of a commit and a release, see lib/straight. The record names the program of its reserve.
local straight_settle = {}

local counter_pattern, account_pattern = straight.counter_pattern, straight.account_pattern

-- Per group of the present owner: the charged entries that a commit with figures writes into the record. Without figures
-- they are the held entries.
local kept = {}

-- The limit of a window with that quota, see window.rolled. `rolled` is nil if nothing was rolled over into it.
local function with_rolled(quota, rolled)
  if not rolled or quota == '-' or quota == '0' then
    return quota
  end
  return args.digits(math.min(quota + rolled, counter.most))
end

-- The totals that the caller sent for an owner's groups, '<owner> <group>:<total>,…'; nil if it sent other groups.
local function read_figures(owner, word)
  for place = 10, #ARGV do
    local figures = { match(ARGV[place], owner.figures_pattern) }
    if figures[1] == word then
      return figures
    end
  end
  return nil
end

-- Computes the new states of one owner's counters from the parts of its line in the record, and stores them in the owner.
-- Returns the ledger's text about them ('' for a release), or nil if the general path must settle them: a window is
-- another one than at the reserve, a hold has expired, or there are grants or alerts.
local function settle_owner(owner, defined, parts, now, charges)
  local word, number, text = parts[1], args.number, args.small
  local figures = charges and ARGV[10] and read_figures(owner, word)
  if charges and ARGV[10] and not figures then
    return nil
  end
  owner.word, owner.key, owner.set_of_holds = word, defined.accounts .. word, defined.holds .. word
  local values = redis_call('HMGET', owner.key, unpack(owner.fields))
  local version, expiry, account_end = match(values[1] or account.nothing, account_pattern)
  local rest = straight.account_rest(owner, account_end)
  if rest ~= '' and not match(rest, '^ forget=%S+$') and (charges or rest ~= straight.watched) then
    return nil
  end
  if expiry ~= '0' and expiry + 0 <= now and not straight.next_expiry(owner.set_of_holds, now) then
    return nil
  end
  owner.version = version
  local changes, prefixes, tails, quotas, seqs = owner.changes, owner.prefixes, owner.tails, owner.quotas, owner.seqs
  local limits, in_ledger = owner.settled_limits, charges and word .. ' ' or ''
  for index = 1, #prefixes do
    local seq, amount = parts[2 * index + 1], parts[2 * index + 2]
    local used, held, tail = match(values[index + 1] or '', counter_pattern)
    if tail ~= tails[index] then
      local quota, rest, bounds, stored_seq = match(tail or '', '^/([%d-]+)(%S*) (%S+)#(%w+)$')
      if rest and rest ~= '' then
        quota = with_rolled(quota, match(rest, '^%+(%d+)'))
      end
      tails[index], quotas[index], seqs[index], owner.windows[index] = tail or false, quota, stored_seq, bounds
      limits[index] = quota and quota ~= '-' and quota + 0 or math.huge
    end
    if not tail or seqs[index] ~= seq then
      return nil
    end
    local left = (number[held] or held + 0) - (number[amount] or amount + 0)
    if left < 0 then
      return nil
    end
    if charges then
      local charge = figures and figures[index + 1] or amount
      local sum = (number[used] or used + 0) + (number[charge] or charge + 0)
      -- A balance may have to take over.
      if sum > counter.most or (figures and sum + left > limits[index] and owner.groups[index].onto) then
        return nil
      end
      used = text[sum] or args.digits(sum)
      if figures then
        local charged = prefixes[index] .. seq .. ':' .. charge
        kept[index], in_ledger = charged, in_ledger .. charged .. ':' .. used .. ':' .. quotas[index]
      else
        in_ledger = in_ledger .. prefixes[index] .. seq .. ':' .. charge .. ':' .. used .. ':' .. quotas[index]
      end
      if ledger.is_near(sum, limits[index]) then
        in_ledger = in_ledger .. ':' .. owner.windows[index]
      end
    end
    changes[2 * index] = used .. '+' .. (text[left] or args.digits(left)) .. tail
  end
  return in_ledger
end

-- Settles a reservation that is held and not expired. `kind`: commit or release. KEYS and ARGV as in commit.lua.
function straight_settle.settle(kind)
  local created_at, in_ledger_beside, answer_fingerprint = ARGV[2], ARGV[3], ARGV[4]
  local has_figures, new_outcome, new_memo = ARGV[5], ARGV[7], ARGV[9]
  local text = redis_call('GET', KEYS[1])
  if not text then
    return nil
  end
  local created, life, name, request, label_start = match(text, '^held (%d+) (%d+) (%S+)([^\n]*)\n()')
  local defined = program.get(name or '')
  if not defined or created ~= created_at or (KEYS[2] and redis_call('EXISTS', KEYS[2]) == 1) then
    return nil
  end
  local now, at_ms = clock.now_ms(defined.clock, defined.sandbox)
  if now >= created + life then
    return nil
  end
  local label_end = find(text, '\n', label_start, true)
  local memo_end = find(text, '\n', label_end + 1, true)
  local label, memo = sub(text, label_start, label_end - 1), sub(text, label_end + 1, memo_end - 1)
  local charges, owners, operation_name = kind == 'commit', defined.owners, sub(KEYS[1], #defined.tag + 4)
  local position, counters, in_ledger, in_record = memo_end, '', '', ''
  local about, ending = label, label
  for at = 1, #owners do
    local owner = owners[at]
    owner.member = false
    if owner.held_pattern then
      local parts = { match(text, owner.held_pattern, position) }
      local charged = parts[1] and settle_owner(owner, defined, parts, now, charges)
      if not charged then
        return nil
      end
      local list_end = parts[#parts]
      local held = sub(text, parts[2], list_end - 1)
      owner.member = operation_name .. ' ' .. held .. ' ' .. ending .. ' ' .. created
      if position ~= memo_end then
        if not redis_call('ZSCORE', owner.set_of_holds, owner.member) then
          return nil
        end
        counters, in_ledger = counters .. ' ; ', in_ledger .. ' '
      elseif defined.is_of_user then
        about = label .. ' ' .. sub(owner.word, 6)
      end
      ending, position = '-', list_end
      counters = counters .. owner.word .. ' ' .. concat(owner.changes, ' ', 1, 2 * #owner.prefixes)
      in_ledger = in_ledger .. charged
      if has_figures then
        in_record = in_record .. '\n' .. owner.word .. ' - ' .. (ARGV[10] and concat(kept, '', 1, #owner.prefixes) or held)
      end
    end
  end
  -- The record has other entries, of credits.
  if position <= #text then
    return nil
  end
  -- Removing the first hold decides; nothing was written before.
  local version = false
  for at = 1, #owners do
    local owner = owners[at]
    if owner.member then
      if redis_call('ZREM', owner.set_of_holds, owner.member) ~= 1 then
        return nil
      end
      redis_call('HSET', owner.key, unpack(owner.changes, 1, 2 * #owner.prefixes))
      version = version or owner.version
    end
  end
  if has_figures and new_memo ~= '' then
    memo = new_memo
  end
  ledger.open(defined.ledger, defined.ledger_most)
  local head = kind .. ' ' .. at_ms .. ' 0 ' .. operation_name .. ' ' .. created .. ' ' .. about
  ledger.write(head, charges and in_ledger or '-', memo, in_ledger_beside)
  local status = charges and 'committed' or 'released'
  if has_figures then
    local outcome = new_outcome ~= '-' and ' ' .. new_outcome or ''
    redis_call('SET', KEYS[1], 'committed ' .. created .. ' ' .. life .. ' - changes=1' .. request .. outcome .. '\n' .. label .. '\n' .. memo .. in_record,
      'KEEPTTL')
  else
    -- Only its first word changes.
    redis_call('SETRANGE', KEYS[1], '0', charges and 'used' or 'free')
  end
  local answer = 'settled\n' .. at_ms .. '\n' .. status .. '\n0\n0\n' .. about .. '\n' .. memo .. '\n' .. version .. '\n\n' .. counters
  if KEYS[2] then
    redis_call('PEXPIRE', KEYS[1], args.digits(operation.record_ttl(created + life, now, defined.sandbox)))
    return operation.keep(KEYS[2], answer_fingerprint, answer)
  end
  return answer
end
