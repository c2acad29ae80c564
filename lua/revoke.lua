--[[
revoke: revokes a grant.

KEYS
  1  account of the owner
  2  grants of the bucket with their details
  3  their ends
  4  audit log
  5  test clock (read only in a sandbox)
  6  record of this operation

ARGV
  fingerprint ('-' without an idempotency key)
  sandbox
  group, grant id
  audit: field count, then name and value each

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing                                   it has ended, was revoked, or never existed
  revoked
]]

local fingerprint = args.text()
local seen = operation.seen(KEYS[6], fingerprint)
if seen then
  return seen
end

local now = clock.now_ms(KEYS[5], args.int())
local id, grant, audit_entry = args.text(), args.text(), audit.read()
local field = id .. '.grants'
local values = redis.call('HMGET', KEYS[1], field, id)
local list = values[1] or ''
if not allowance.ends(list, grant, values[2], now) then
  return { 'missing' }
end
local kept = {}
for name, amount, seq, ends_at in allowance.each(list) do
  if name ~= grant then
    kept[#kept + 1] = name .. ':' .. amount .. ':' .. seq .. ':' .. ends_at
  end
end
redis.call('HSET', KEYS[1], field, table.concat(kept, ','))
audit.write(KEYS[4], audit_entry)
redis.call('HDEL', KEYS[2], grant)
redis.call('ZREM', KEYS[3], grant)
return operation.keep(KEYS[6], fingerprint, { 'revoked' })
