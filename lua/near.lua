--[[
near: records counters near or at their limits. The number is limited: of the counters at their limits, and of those near
them, the fullest are kept. A counter whose window is over is removed.

KEYS
  1  counters by how much of their limits is used, in thousandths
  2  the same counters by the end of their windows (ms)
  3  test clock of a sandbox

ARGV
  sandbox (0|1), how many of each kind are kept
  count, then per counter: name, thousandths of its limit that are used, end of its window (ms)

Replies
  noted
]]

local sandbox, most = args.int(), args.int()
local at_limit = 1000

local function drop(names)
  for _, name in ipairs(names) do
    redis.call('ZREM', KEYS[1], name)
    redis.call('ZREM', KEYS[2], name)
  end
end

-- Both sets grow by at most what one call adds.
local function trim(from, to)
  local over = redis.call('ZCOUNT', KEYS[1], from, to) - most
  if over > 0 then
    drop(redis.call('ZRANGEBYSCORE', KEYS[1], from, to, 'LIMIT', 0, over))
  end
end

for _ = 1, args.int() do
  local name, share, finish = args.text(), args.text(), args.text()
  redis.call('ZADD', KEYS[1], share, name)
  redis.call('ZADD', KEYS[2], finish, name)
end
local now = args.digits(clock.now_ms(KEYS[3], sandbox))
drop(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000))
trim('-inf', '(' .. at_limit)
trim(at_limit, '+inf')
return { 'noted' }
