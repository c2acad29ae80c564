--[[
revoke: takes a grant back.

KEYS
  1  counters of the owner
  2  grants of the bucket: what is known of each
  3  their ends
  4  audit log

ARGV
  group, grant id
  audit: field count, then name and value each

Replies
  missing                                   it has ended, was taken back, or never was
  revoked
]]

local id, grant, trail = args.text(), args.text(), audit.read()
local field = id .. '.grants'
local kept, found = {}, false
for name, amount, serial, ends_at in allowance.each(redis.call('HGET', KEYS[1], field) or '') do
  if name == grant then
    found = true
  else
    kept[#kept + 1] = name .. ':' .. amount .. ':' .. serial .. ':' .. ends_at
  end
end
if not found then
  return { 'missing' }
end
redis.call('HSET', KEYS[1], field, table.concat(kept, ','))
audit.write(KEYS[4], trail)
redis.call('HDEL', KEYS[2], grant)
redis.call('ZREM', KEYS[3], grant)
return { 'revoked' }
