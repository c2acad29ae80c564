--[[
rollup: writes rows of days with the sums of further entries of a stream, and moves the cursor past those entries, if the
cursor has not moved since the node read it. So each entry is counted once, even if several nodes fold it or one dies.

KEYS
  1  cursor of the stream
  2  the stream
  3… days

ARGV
  the old cursor ('' none), the new one: '<id> <entries folded> <rebuilds>'
  id of the last folded entry: if it no longer exists, the stream was replaced
  per day: TTL (s), fields: count, then name and value each

Replies, in order of precedence
  moved                                     another node was first
  rolled
]]

local before, after, last = args.text(), args.text(), args.text()
if (redis.call('GET', KEYS[1]) or '') ~= before or #redis.call('XRANGE', KEYS[2], last, last, 'COUNT', 1) == 0 then
  return { 'moved' }
end
for place = 3, #KEYS do
  local ttl = args.int()
  local left = 2 * args.int()
  while left > 0 do
    -- Lua cannot pass more than a few thousand arguments.
    local count = math.min(left, 1000)
    redis.call('HSET', KEYS[place], args.texts(count))
    left = left - count
  end
  redis.call('EXPIRE', KEYS[place], ttl)
end
redis.call('SET', KEYS[1], after)
return { 'rolled' }
