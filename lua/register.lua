--[[
register: one entry of a register that all apps share (apps, keys), with a count of its changes.

KEYS
  1  register
  2  changes of the register
  3  record of this operation
  4  audit log

ARGV
  fingerprint ('-' without an idempotency key)
  action: create | replace | delete
  name, value
  answer: stored for the idempotency key
  audit: field count, then name and value each

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  exists                                    create, and there is an entry with this name
  missing                                   replace or delete, and there is none
  registered, answer
]]

local fingerprint = args.text()
local seen = operation.seen(KEYS[3], fingerprint)
if seen then
  return seen
end

local action, name, value, answer, audit_entry = args.text(), args.text(), args.text(), args.text(), audit.read()
local present = redis.call('HEXISTS', KEYS[1], name) == 1
if action == 'create' and present then
  return { 'exists' }
end
if action ~= 'create' and not present then
  return { 'missing' }
end
if action == 'delete' then
  redis.call('HDEL', KEYS[1], name)
else
  redis.call('HSET', KEYS[1], name, value)
end
redis.call('INCR', KEYS[2])
audit.write(KEYS[4], audit_entry)
return operation.keep(KEYS[3], fingerprint, { 'registered', answer })
