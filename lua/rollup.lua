--[[
rollup: writes what rows of days come to with further entries of a stream, and moves the cursor behind those entries,
if it still stands where the node read it: so each entry is counted once, whichever nodes fold it and whenever one dies.

KEYS
  1  cursor of the stream
  2  the stream
  3… days

ARGV
  where the cursor stood ('' none), where it goes: '<id> <entries folded> <rebuilds>'
  id of the last entry that was folded: it is still there, else the stream is another one by now
  per day: how long it stays (s), fields: count, then name and value each

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
    -- Lua passes no more than some thousand arguments.
    local count = math.min(left, 1000)
    redis.call('HSET', KEYS[place], args.texts(count))
    left = left - count
  end
  redis.call('EXPIRE', KEYS[place], ttl)
end
redis.call('SET', KEYS[1], after)
return { 'rolled' }
