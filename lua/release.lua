--[[
release: gives back all that a reservation still holds. What draws have charged stays charged.

KEYS
  1  record of the reservation; it names the other keys, which share its slot
  2  test clock (read only in a sandbox)
  3  outbox
  4  ledger
  5  audit log (written only with a trail)
  6  record of this operation (only with an idempotency key)

ARGV
  fingerprint ('-' without an idempotency key)
  sandbox, created_at_ms (of the id), whether expiries are told (0|1), how many entries the ledger may have
  told: what the call brings, for the ledger (JSON, or '')
  audit: field count, then name and value each

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing, now                              no such reservation (any more)
  expired, now                              past its grace, or expired while it was held
  not_pending, now, status                  it was committed
  settled, now, status, late, replayed, request, version of the first owner, passed,
    then per account: group, used, held, granted, blocked, '<kind> <start> <end> …', counters
  passed: alerts, '<group>:<percent>,…'
]]

local fingerprint = args.text()
local seen = KEYS[6] and operation.seen(KEYS[6], fingerprint)
if seen then
  return seen
end

local sandbox, created_at, tells_expiry, ledger_most = args.texts(4)
local expiry_outbox = tells_expiry == '1' and KEYS[3] or nil
ledger.open(KEYS[4], ledger_most)
sandbox = args.stored(sandbox)
local told, trail = args.text(), audit.read()
local now = clock.now_ms(KEYS[2], sandbox)
local loaded = record.load(KEYS[1], created_at)
if not loaded then
  return { 'missing', now }
end
if now >= loaded.expires_at + clock.grace_ms then
  return { 'expired', now }
end
if loaded.status == 'released' then
  return settle.replay(loaded, now, expiry_outbox)
end
if loaded.status ~= 'held' then
  return { 'not_pending', now, loaded.status }
end
if now >= loaded.expires_at then
  return { 'expired', now }
end

for at = 1, #loaded.owners do
  local owner = loaded.owners[at]
  settle.open(owner, now, expiry_outbox)
  for place = 1, #owner.accounts do
    local account = owner.accounts[place]
    settle.free(owner, account, account.holds)
    settle.charge(account, 0)
  end
end
loaded.status = 'released'
local passed = {}
for at = 1, #loaded.owners do
  local owner = loaded.owners[at]
  settle.write(owner, loaded.expires_at, now, KEYS[3], passed)
  settle.let_go(owner)
end
ledger.append('release', now, false, loaded.op, loaded.about, loaded.memo, told)
record.save(loaded)
audit.write(KEYS[5], trail)
local answer = settle.answer(loaded, now, 0, passed)
if KEYS[6] then
  operation.keep(KEYS[6], fingerprint, answer)
end
for at = 1, #loaded.owners do
  local owner = loaded.owners[at]
  redis.call('ZREM', owner.holds, owner.member)
end
return answer
