-- track, track_enforce and track_degraded: count usage that has already happened, in one step and without a hold.
local tracking = {}

-- Charges a balance with what a group takes from it, and with what it does not have if it has no limit group. What the
-- ledger says of it is added to `charges`.
local function charge_balance(group, charges)
  local balance, parts, sign = group.balance, nil, 1
  if group.amount < 0 then
    parts, sign = credits.refund_any(balance, -group.amount), -1
  else
    parts = credits.take(balance, group.over, 'used')
    if group.is_balance and group.amount > group.over then
      -- In the reply: this call is not covered.
      group.over_limit = true
      credits.exceed(balance, group.amount - group.over)
      parts[#parts + 1] = { name = credits.none, amount = group.amount - group.over }
    end
  end
  for _, part in ipairs(parts) do
    part.id, part.amount = group.is_balance and group.id or group.id .. '>' .. balance.id, sign * part.amount
    balances.charge(balance, part, charges)
  end
end

local function add(owner, p, now, call)
  local extra, charges = alert.watch(owner, {}), {}
  for place = 1, #owner.groups do
    local group = owner.groups[place]
    group.before = group.used
    if group.is_balance or group.over > 0 then
      charge_balance(group, charges)
    end
    if not group.is_balance then
      group.used = math.max(0, group.used + group.amount - group.over)
      charges[#charges + 1] = counter.charge(group, args.digits(group.used - group.before))
    end
  end
  ledger.add(owner.word, charges)
  counter.write(owner, now, extra)
  local watched = {}
  for at = 1, #owner.groups do
    local group = owner.groups[at]
    watched[#watched + 1] = group.percents and group or nil
  end
  local changes = {}
  alert.charge(owner, watched, now, changes, call)
  if #changes > 0 then
    chunked_hash.set(owner.key, changes)
  end
  retention.keep(owner, p, now)
end

-- KEYS: 1 record of this operation, 2… per owner its account. ARGV: see lib/proposal; its own: 5 refund (1 subtracts
-- the amounts, never below 0), 6 about '<event> <key> <user>', 7 memo: the request, 8 match_facts: what a repetition
-- needs in addition to the figures.
-- `in_ledger`: what the ledger records in addition, or nil; `keep_ms`: how long the answer is stored in any case.
function tracking.count(enforce, in_ledger, keep_ms)
  local p = proposal.read(2, 4)
  if not p then
    return { 'unknown' }
  end
  local seen = operation.seen(KEYS[1], p.fingerprint)
  if seen then
    return seen
  end
  local refund, match_facts = ARGV[5] == '1', ARGV[8]
  local source = { op = string.sub(KEYS[1], #p.tag + 4) .. ' -', about = ARGV[6], memo = ARGV[7] }
  if refund then
    for at = 1, #p.owners do
      for _, group in ipairs(p.owners[at].groups) do
        group.amount = -group.amount
      end
    end
  end
  local refused = enforce and { key = keys.of(p.tag, 'denials'), call = 'track', about = source.about, memo = source.memo }
  local refusal, now, reclaimed = admission.decide(p, refused, not enforce)
  if refusal then
    return refusal[1] == 'denied' and operation.keep(KEYS[1], p.fingerprint, refusal, p.owners) or refusal
  end
  local call, full_scopes = { outbox = p.outbox, crossed = {} }, 0
  for at = 1, #p.owners do
    local owner = p.owners[at]
    if owner.scope_full then
      full_scopes = full_scopes + 1
    else
      add(owner, p, now, call)
    end
  end
  if counter.count(p.owners) > 0 then
    ledger.append(refund and 'refund' or 'track', now, false, source, in_ledger or '')
  end
  local answer = { 'tracked', now, reclaimed, table.concat(call.crossed, ','), full_scopes, counter.states(p.owners, true), match_facts }
  return operation.keep(KEYS[1], p.fingerprint, answer, p.owners, keep_ms)
end
