--[[
session: stores a session of the dashboard, or ends it, with an entry in the audit log.

KEYS
  1  session
  2  audit log

ARGV
  value ('' ends the session), lifetime_ms
  audit: field count, then name and value each

Replies
  opened
  ended
]]

local value, lifetime_ms, audit_entry = args.text(), args.int(), audit.read()
audit.write(KEYS[2], audit_entry)
if value == '' then
  redis.call('DEL', KEYS[1])
  return { 'ended' }
end
redis.call('SET', KEYS[1], value, 'PX', lifetime_ms)
return { 'opened' }
