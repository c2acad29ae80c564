--[[
decide: rejects an approval request, or reopens a rejected one. (Approving is a grant.)

KEYS
  1  record of this operation
  2  test clock (read only in a sandbox)
  3  counters of the request's owner
  4  approvals
  5  open requests
  6  decided requests
  7  outbox
  8  audit log

ARGV
  fingerprint ('-' without an idempotency key)
  sandbox
  approval id, new status (rejected | open), decision (JSON)
  audit: field count, then name and value each

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing                                   there is no such request
  decided, status                           it was approved, or already has this status
  changed
]]

local fingerprint = args.text()
local seen = operation.seen(KEYS[1], fingerprint)
if seen then
  return seen
end

local now = clock.now_ms(KEYS[2], args.int())
local id, status, how, audit_entry = args.text(), args.text(), args.text(), audit.read()
local request = approval.read(KEYS[4], id)
if not request then
  return { 'missing' }
end
if request.status == 'approved' or request.status == status then
  return { 'decided', request.status }
end

-- If the request's window is over, no counter refers to the request.
local field = request.group .. '.approval'
local seq, known, asked_in = string.match(redis.call('HGET', KEYS[3], field) or '', '^(%S+) (%S+) %S+ (.*)$')
approval.decide{
  request = request, status = status, how = how, now = now, approvals = KEYS[4], open = KEYS[5], decided = KEYS[6],
}
if known == id then
  redis.call('HSET', KEYS[3], field, seq .. ' ' .. id .. ' ' .. status .. ' ' .. asked_in)
end
outbox.add(KEYS[7], status == 'open' and 'approval.requested' or 'approval.decided', now, {
  'owner', request.key, 'group', request.group, 'window', request.window, 'approval', id, 'status', status, 'how', how,
})
audit.write(KEYS[8], audit_entry)
return operation.keep(KEYS[1], fingerprint, { 'changed' })
