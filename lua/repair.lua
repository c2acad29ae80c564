--[[
repair: corrects a counter that differs from the ledger or its holds, if it has not changed since the difference was found.

KEYS
  1  the hash: account, or past of an owner
  2  audit log

ARGV
  field, figure (used | held | closed), found, right: of a counter, or the first word of a closed window
  audit: field count, then name and value each

Replies, in order of precedence
  changed                                   it has changed
  repaired
]]

local field, figure, found, right = args.text(), args.text(), args.text(), args.text()
local audit_entry = audit.read()
local before, value, rest = string.match(redis.call('HGET', KEYS[1], field) or '', figure == 'held' and '^(%d+%+)(%d+)(.*)$' or '^()(%d+)(.*)$')
if value ~= found then
  return { 'changed' }
end
redis.call('HSET', KEYS[1], field, (figure == 'held' and before or '') .. right .. rest)
audit.write(KEYS[2], audit_entry)
return { 'repaired' }
