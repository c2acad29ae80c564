--[[
enqueue: creates a delivery to a webhook unless it exists; or makes an existing one due again.

KEYS
  1  the delivery
  2  deliveries of the webhook, by creation time
  3  those that were given up
  4  pending deliveries, by the time of the next attempt

ARGV
  message
  again (0|1): deliver an existing delivery again
  most: maximum number of stored deliveries of the webhook
  ttl_ms: how long one is stored
  fields: count, then name and value each

Replies, in order of precedence
  missing                                   again, and it is no longer stored
  known                                     it exists already
  enqueued, dropped messages…               beyond `most`, the oldest are dropped; the caller deletes their records
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
