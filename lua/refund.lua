--[[
refund: gives back what a settled reservation charged, to the windows it was charged to.

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
  figures: count, then per group: id, amount
  whole: count, then the ids of groups that count calls: given back once all the others are

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing, now                              no such reservation (any more)
  expired, now                              past its grace
  not_pending, now, status                  it is still held
  settled, now, status, late, replayed, request, version of the first owner, passed,
    then per account: group, used, held, granted, blocked, '<kind> <start> <end> …', counters
  passed: alerts, '<group>:<percent>,…'
]]

local fingerprint = args.text()
local seen = KEYS[5] and operation.seen(KEYS[5], fingerprint)
if seen then
  return seen
end

local sandbox, created_at, tells_expiry, ledger_most = args.texts(4)
local expiry_outbox = tells_expiry == '1' and KEYS[3] or nil
ledger.open(KEYS[4], ledger_most)
sandbox = args.stored(sandbox)
local told = args.text()
local amounts, whole = {}, {}
for _ = 1, args.int() do
  local group = args.text()
  amounts[group] = args.int()
end
for _ = 1, args.int() do
  whole[args.text()] = true
end

local now = clock.now_ms(KEYS[2], sandbox)
local loaded = record.load(KEYS[1], created_at)
if not loaded then
  return { 'missing', now }
end
if now >= loaded.expires_at + clock.grace_ms then
  return { 'expired', now }
end
if loaded.status == 'held' then
  return { 'not_pending', now, loaded.status }
end

-- Gives back at most `amount` of what was charged, never more than its window still counts.
local function give_back(account, amount)
  local given = math.min(amount, account.charged)
  account.charged = account.charged - given
  account.used = math.max(0, account.used - given)
  return given
end

local open = 0
for _, owner in ipairs(loaded.owners) do
  settle.open(owner, now, expiry_outbox)
  -- The newest window first: an overage was charged there.
  for place = #owner.accounts, 1, -1 do
    local account = owner.accounts[place]
    if not whole[account.id] then
      local amount = amounts[account.id] or 0
      amounts[account.id] = amount - give_back(account, amount)
      open = open + account.charged
    end
  end
end
for _, owner in ipairs(loaded.owners) do
  for _, account in ipairs(owner.accounts) do
    if whole[account.id] and open == 0 then
      give_back(account, account.charged)
    end
  end
end
local passed = {}
for _, owner in ipairs(loaded.owners) do
  settle.write(owner, loaded.expires_at, now, KEYS[3], passed)
end
ledger.append('refund', now, false, loaded.op, loaded.about, loaded.memo, told)
record.save(loaded, KEYS[5] and operation.record_ttl(loaded.expires_at, now, sandbox))
local answer = settle.answer(loaded, now, 0, passed)
if KEYS[5] then
  operation.keep(KEYS[5], fingerprint, answer)
end
return answer
