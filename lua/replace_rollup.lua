--[[
replace_rollup: replaces days with their rebuilt rows, if the cursor is still at the last entry that the rebuilt rows count.

KEYS
  1  cursor of the stream
  2… pairs: a rebuilt day (missing if it has no rows), and the day

ARGV
  the old cursor, and the same with one more rebuild: a node that read rows before does not write them afterwards
  per pair: TTL of the day (s)

Replies, in order of precedence
  moved                                     more was folded meanwhile
  replaced
]]

local before, after = args.text(), args.text()
if (redis.call('GET', KEYS[1]) or '') ~= before then
  return { 'moved' }
end
for place = 2, #KEYS, 2 do
  local ttl = args.int()
  redis.call('UNLINK', KEYS[place + 1])
  if redis.call('EXISTS', KEYS[place]) == 1 then
    redis.call('RENAME', KEYS[place], KEYS[place + 1])
    redis.call('EXPIRE', KEYS[place + 1], ttl)
  end
end
redis.call('SET', KEYS[1], after)
return { 'replaced' }
