-- track, track_enforce and track_degraded: counts what has happened, in one step and without a hold.
local tracking = {}

local function add(owner, given, now, index, passed)
  local extra, charges = alert.watch(owner, {}), {}
  for place = 1, #owner.groups do
    local group = owner.groups[place]
    group.before, group.bounds = group.used, window.bounds(group.window)
    group.used = math.max(0, group.used + group.amount)
    charges[place] = ledger.charge(group.id, group.serial, args.digits(group.used - group.before), args.digits(group.used))
  end
  ledger.add(owner.counters, charges)
  counter.write(owner, 'used', now, extra)
  local watched = {}
  for at = 1, #owner.groups do
    local group = owner.groups[at]
    watched[#watched + 1] = group.percents and group or nil
  end
  local changes = {}
  alert.charge(owner, watched, now, KEYS[4], changes, passed)
  if #changes > 0 then
    pieces.set(owner.counters, changes)
  end
  retention.keep(owner, given, now, KEYS[index], KEYS[index + 1])
end

-- `in_ledger`: what the ledger says beside, or nil; `keep_ms`: the answer is kept for so long, whoever asked.
function tracking.count(enforce, in_ledger, keep_ms)
  local fingerprint = args.text()
  local seen = operation.seen(KEYS[2], fingerprint)
  if seen then
    return seen
  end

  local given = facts.read()
  ledger.open(KEYS[5], given.ledger_most)
  local verdict, refund = args.text(), args.int() == 1
  local name, about, memo, told = args.text(), args.text(), args.text(), args.text()
  local owners, tail = counter.owners(7)
  if refund then
    for at = 1, #owners do
      local owner = owners[at]
      for place = 1, #owner.groups do
        local group = owner.groups[place]
        group.amount = -group.amount
      end
    end
  end
  local asked, index = admission.read_asked(tail)
  local refused = enforce and { key = KEYS[6], call = 'track', about = about, memo = memo }
  local refusal, now, reclaimed = admission.decide(given, verdict, owners, KEYS[4], asked, index, refused, not enforce)
  if refusal then
    return refusal[1] == 'denied' and operation.keep(KEYS[2], fingerprint, refusal, owners) or refusal
  end

  local passed, crowded = {}, 0
  for at = 1, #owners do
    local owner = owners[at]
    if owner.crowded then
      crowded = crowded + 1
    else
      add(owner, given, now, index, passed)
    end
  end
  if counter.count(owners) > 0 then
    ledger.append(refund and 'refund' or 'track', now, false, name .. ' -', about, memo, in_ledger or '')
  end
  local answer = counter.reply({ 'tracked', now, reclaimed, table.concat(passed, ','), crowded }, owners)
  answer[#answer + 1] = told
  return operation.keep(KEYS[2], fingerprint, answer, owners, keep_ms)
end
