--[[
enqueue: makes out one delivery to a webhook, once however often it is called; or has it made once more.

KEYS
  1  the delivery
  2  deliveries of the webhook, by when they were made out
  3  those that were given up
  4  those that still have to be made, by when

ARGV
  message
  again (0|1): make a known delivery once more
  most: how many deliveries of the webhook are kept
  ttl_ms: how long one is kept
  fields: count, then name and value each

Replies, in order of precedence
  missing                                   again, and it is not kept any more
  known                                     it was made out before
  enqueued, dropped messages…               beyond `most`, the oldest are dropped; their records are the caller's to delete
]]

local message, again, most, ttl = args.text(), args.int() == 1, args.int(), args.text()
local present = redis.call('EXISTS', KEYS[1]) == 1
if again and not present then
  return { 'missing' }
end
if present and not again then
  return { 'known' }
end
local fields = {}
for place = 1, 2 * args.int() do
  fields[place] = args.text()
end
local now = args.digits(clock.real_ms())
redis.call('HSET', KEYS[1], unpack(fields))
if again then
  redis.call('ZREM', KEYS[3], message)
else
  redis.call('HSET', KEYS[1], 'created_at', now)
  redis.call('ZADD', KEYS[2], now, message)
end
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('ZADD', KEYS[4], now, message)
local answer = { 'enqueued' }
local beyond = redis.call('ZCARD', KEYS[2]) - most
if beyond > 0 then
  for _, dropped in ipairs(redis.call('ZRANGE', KEYS[2], 0, math.min(beyond, 100) - 1)) do
    answer[#answer + 1] = dropped
    redis.call('ZREM', KEYS[2], dropped)
    redis.call('ZREM', KEYS[3], dropped)
    redis.call('ZREM', KEYS[4], dropped)
  end
end
return answer
