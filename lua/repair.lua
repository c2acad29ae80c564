--[[
repair: puts a counter right that is not what the ledger or its holds say, if it still is what was found.

KEYS
  1  the hash: counters, or past of an owner
  2  audit log

ARGV
  field, found, right: `used` or `held` of a counter, or the first word of a closed window
  audit: field count, then name and value each

Replies, in order of precedence
  changed                                   it is not what was found any more
  repaired
]]

local field, found, right = args.text(), args.text(), args.text()
local trail = audit.read()
local value, rest = string.match(redis.call('HGET', KEYS[1], field) or '', '^(%d+)(.*)$')
if value ~= found then
  return { 'changed' }
end
redis.call('HSET', KEYS[1], field, right .. rest)
audit.write(KEYS[2], trail)
return { 'repaired' }
