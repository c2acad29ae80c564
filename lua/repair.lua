--[[
repair: corrects a counter that differs from the ledger or its holds, if it has not changed since the difference was found.

KEYS
  1  the hash: account, or past of an owner
  2  audit log

ARGV
  field, figure (used | held | rolled | closed), found, right: of a counter, or the first word of a closed window
  audit: field count, then name and value each

Replies, in order of precedence
  changed                                   it has changed
  repaired
]]

local field, figure, found, right = args.text(), args.text(), args.text(), args.text()
local audit_entry = audit.read()
-- What precedes the figure, the figure, and what follows it.
local patterns = {
  used = '^()(%d+)(.*)$', closed = '^()(%d+)(.*)$', held = '^(%d+%+)(%d+)(.*)$', rolled = '^(%d+%+%d+/[%d-]+)(%+?%d*)(.*)$',
}
local before, value, rest = string.match(redis.call('HGET', KEYS[1], field) or '', patterns[figure])
if figure == 'rolled' then
  -- It is only written if there is something.
  found, right = found ~= '0' and '+' .. found or '', right ~= '0' and '+' .. right or ''
end
if value ~= found then
  return { 'changed' }
end
redis.call('HSET', KEYS[1], field, (type(before) == 'string' and before or '') .. right .. rest)
audit.write(KEYS[2], audit_entry)
return { 'repaired' }
