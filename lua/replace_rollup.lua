--[[
replace_rollup: puts rebuilt days in the place of those that there are, if the cursor still stands behind the last entry
that the rebuilt ones count.

KEYS
  1  cursor of the stream
  2… pairs: a rebuilt day (or none, where nothing happened), and the day

ARGV
  where the cursor stood, the same with one rebuild more: a node that read rows before does not write them after
  per pair: how long the day stays (s)

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
