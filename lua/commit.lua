--[[
commit: what a reservation holds, or the actual figures, becomes used, in the windows in which it was held.
A draw (final 0) charges part of it and keeps the rest.

KEYS
  1  record of the reservation; it names the other keys, which share its slot
  2  test clock (read only in a sandbox)
  3  outbox
  4  ledger
  5  record of this operation (only with an idempotency key)

ARGV
  fingerprint ('-' without an idempotency key)
  sandbox, created_at_ms (of the id), whether expiries are told (0|1), how many entries the ledger may have
  told: what the call brings, for the ledger (JSON, or '')
  final (0|1), reject_late (0|1), outcome ('-' | accepted | rejected)
  changes: the reservation's changes that the figures were computed on ('-' without figures)
  memo: the new memo ('' keeps the old one)
  figures: count, then per counter: counters, group, total charged once this call is done

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing, now                              no such reservation (any more)
  expired, now                              past its grace; also, if it is still held, late and reject_late
  not_pending, now, status                  it was released, or a draw on a committed one
  settled, now, status, late, replayed, request, version of the first owner, passed,
    then per account: group, used, held, granted, blocked, '<kind> <start> <end> …', counters
  passed: alerts, '<group>:<percent>,…'
  stale_reservation, now                    figures were computed on an older state
  overflow, now                             a counter would pass 2^53 - 1
]]

local fingerprint = args.text()
local seen = KEYS[5] and operation.seen(KEYS[5], fingerprint)
if seen then
  return seen
end

local sandbox, created_at, tells_expiry, ledger_most, told, final, reject_late, outcome, changes, memo = args.texts(10)
local expiry_outbox = tells_expiry == '1' and KEYS[3] or nil
ledger.open(KEYS[4], ledger_most)
sandbox, final, reject_late = args.stored(sandbox), final == '1', reject_late == '1'
local figures, totals = args.int(), {}
for _ = 1, figures do
  local counters, group, total = args.texts(3)
  totals[counters .. ' ' .. group] = args.stored(total)
end

local now = clock.now_ms(KEYS[2], sandbox)
local loaded = record.load(KEYS[1], created_at)
if not loaded then
  return { 'missing', now }
end
if now >= loaded.expires_at + clock.grace_ms then
  return { 'expired', now }
end
if loaded.status == 'committed' and final then
  return settle.replay(loaded, now, expiry_outbox)
end
if loaded.status ~= 'held' then
  return { 'not_pending', now, loaded.status }
end
local late = now >= loaded.expires_at
if late and reject_late then
  return { 'expired', now }
end
if changes ~= '-' and changes ~= args.digits(loaded.changes) then
  return { 'stale_reservation', now }
end

-- How much of the group's new charge falls on this account: oldest window first, the last one takes what is over.
local function share(owner, place)
  local account = owner.accounts[place]
  if window.is_concurrent(account.serial) then
    return 0
  end
  local total = figures > 0 and totals[owner.counters .. ' ' .. account.id]
  if not total then
    return account.holds
  end
  owner.open = owner.open or {}
  local open = owner.open[account.id] or math.max(0, total - settle.charged(owner, account.id))
  local amount = math.min(open, account.holds)
  local last = true
  for later = place + 1, #owner.accounts do
    last = last and owner.accounts[later].id ~= account.id
  end
  if last then
    amount = open
  end
  owner.open[account.id] = open - amount
  return amount
end

for at = 1, #loaded.owners do
  local owner = loaded.owners[at]
  settle.open(owner, now, expiry_outbox)
  local shares = {}
  for place = 1, #owner.accounts do
    shares[place] = share(owner, place)
  end
  for place = 1, #owner.accounts do
    local account = owner.accounts[place]
    local freed = final and account.holds or math.min(shares[place], account.holds)
    settle.free(owner, account, freed)
    if not settle.charge(account, shares[place]) then
      return { 'overflow', now }
    end
    account.holds = account.holds - freed
  end
end

loaded.changes = loaded.changes + 1
loaded.status = final and 'committed' or 'held'
loaded.late = late or loaded.late
loaded.outcome = outcome
loaded.memo = memo ~= '' and memo or loaded.memo
local members, passed = {}, {}
for place = 1, #loaded.owners do
  local owner = loaded.owners[place]
  settle.write(owner, loaded.expires_at, now, KEYS[3], passed)
  members[place] = owner.member
  if final then
    settle.let_go(owner)
  end
end
ledger.append(final and 'commit' or 'draw', now, late, loaded.op, loaded.about, loaded.memo, told)
record.save(loaded, KEYS[5] and operation.record_ttl(loaded.expires_at, now, sandbox))
local answer = settle.answer(loaded, now, 0, passed)
if KEYS[5] then
  operation.keep(KEYS[5], fingerprint, answer)
end
for place = 1, #loaded.owners do
  local owner = loaded.owners[place]
  if owner.live then
    if not final then
      redis.call('ZADD', owner.holds, args.digits(loaded.expires_at), record.member(loaded, owner))
    end
    if final or record.member(loaded, owner) ~= members[place] then
      redis.call('ZREM', owner.holds, members[place])
    end
  end
end
return answer
