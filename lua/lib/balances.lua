-- Writes balances (lib/credits): their fields, ledger entries and alerts. Describes their states for replies.
local balances = {}

-- Adds to `charges` the ledger's text about one credit that the call has charged. `part`: id of the entry, name of the
-- credit, and amount (negative for a refund).
function balances.charge(balance, part, charges)
  local used
  if part.amount == 0 then
    return
  end
  if part.name == credits.none then
    balance.uncovered_before = balance.uncovered_before + part.amount
    used = balance.uncovered_before
  else
    local credit = credits.find(balance.owner, balance, part.name)
    credit.used_before = credit.used_before + part.amount
    used = credit.used_before
  end
  charges[#charges + 1] = ledger.charge(part.id, part.name, args.digits(part.amount), args.digits(used), '-')
end

-- Notes the thresholds that the remaining amount has reached.
local function note_low(balance)
  for text in string.gmatch(balance.left < balance.left_before and balance.below or '', '%d+') do
    if balance.left <= text + 0 and (balance.low == '-' or text + 0 < balance.low + 0) then
      balance.low = text
      balance.reported[#balance.reported + 1] = text
    end
  end
end

-- Adds the fields and values of the balances that have changed. Returns their number.
function balances.append(owner, fields, count)
  for _, balance in ipairs(owner.balances) do
    if balance.changed then
      balance.gone, balance.back = {}, {}
      for _, credit in ipairs(balance.old) do
        if credit.left + credit.held > 0 then
          credits.insert(balance, credit)
          balance.back[#balance.back + 1] = balance.id .. '.' .. credit.name .. '.ended'
        end
      end
      local list = {}
      for _, credit in ipairs(balance.items) do
        if credit.left + credit.held > 0 then
          list[#list + 1] = credits.text(credit)
        end
      end
      for _, credits_of in ipairs({ balance.items, balance.old }) do
        for _, credit in ipairs(credits_of) do
          if credit.left + credit.held == 0 then
            balance.gone[#balance.gone + 1] = balance.id .. '.' .. credit.name .. '.ended'
            balance.gone[#balance.gone + 1] = credits.text(credit)
          end
        end
      end
      if balance.rest ~= '' then
        list[#list + 1] = balance.rest
      end
      note_low(balance)
      fields[count + 1], fields[count + 2] = balance.id, account.counter_text(balance.used, balance.held, credits.window, balance.seq)
      fields[count + 3] = balance.id .. '.credits'
      fields[count + 4] = args.digits(balance.left) .. ' ' .. args.digits(balance.uncovered) .. ' ' .. balance.below .. ' ' .. balance.low
        .. ';' .. concat(list, ',')
      count = count + 4
    end
  end
  return count
end

-- An entry of the ledger about one credit. `what`: credited, lapsed or voided; `label`: '<event> <key> <user>'.
function balances.record(owner, balance, credit, change, entry)
  local total = entry.what == 'credited' and credit.amount or credit[entry.what]
  local charge = ledger.charge(balance.id, credit.name .. '.' .. entry.what, args.digits(change), args.digits(total), '-')
  ledger.write(entry.kind .. ' ' .. entry.at .. ' 0 - - ' .. entry.label, owner.word .. ' ' .. charge, '', entry.details or '')
end

-- After the account was written: stores the credits that have ended, and reports what lapsed or was voided, and what is low.
-- `void`: label and details of a void, see above.
function balances.finish(owner, now, void)
  local tag = keys.tag(owner.key)
  local label = '- - ' .. (match(owner.word, '^user:(.*)$') or '-')
  for _, balance in ipairs(owner.balances) do
    if balance.changed then
      local key = keys.credits(tag, owner.word)
      if #balance.gone > 0 then
        redis.call('HSET', key, unpack(balance.gone))
      end
      if #balance.back > 0 then
        redis.call('HDEL', key, unpack(balance.back))
      end
      for _, list in ipairs({ balance.items, balance.old }) do
        for _, credit in ipairs(list) do
          local lapsed, voided = credit.lapsed - credit.lapsed_before, credit.voided - credit.voided_before
          credit.lapsed_before, credit.voided_before = credit.lapsed, credit.voided
          if lapsed > 0 then
            balances.record(owner, balance, credit, lapsed,
              { kind = 'lapse', what = 'lapsed', at = credit.lapsed_at or args.digits(now), label = label })
          end
          if voided > 0 then
            balances.record(owner, balance, credit, voided, { kind = 'void', what = 'voided', at = args.digits(now),
              label = void and void.label or label, details = void and void.details })
          end
        end
      end
      for _, threshold in ipairs(balance.reported) do
        outbox.add(keys.of(tag, 'outbox'), 'credits.low', now, { 'owner', owner.key, 'group', balance.id, 'threshold', threshold,
          'remaining', args.digits(balance.left), 'held', args.digits(balance.held), 'used', args.digits(balance.used) })
      end
    end
  end
end

-- The state of a balance: '<used>+<held>*<remaining>:<uncovered>[:<amount that expires next>:<at ms>]'.
function balances.state(balance)
  return args.digits(balance.used) .. '+' .. args.digits(balance.held) .. '*' .. args.digits(balance.left) .. ':'
    .. args.digits(balance.uncovered) .. credits.next_expiry(balance)
end

-- What the state of a counter says about overflow: '>' with what was taken, or '' if nothing was and the group is not over
-- its limit.
function balances.mark(group, is_over_limit)
  if not group.balance or group.is_balance or (group.over == 0 and not is_over_limit) then
    return ''
  end
  return '>' .. args.digits(is_over_limit and 0 or group.over) .. '@' .. balances.state(group.balance)
end
