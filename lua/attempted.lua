--[[
attempted: records the result of a delivery attempt, and when the next one is due.

KEYS
  1  the delivery
  2  deliveries of the webhook that were given up
  3  pending deliveries, by the time of the next attempt

ARGV
  message, outcome (delivered | failed)
  the receiver's response: status code ('' none), error ('' none)
  wait_ms: until the next attempt; give_up_ms: time since it was created (or resent) after which there is no attempt

Replies
  missing                                   it is no longer stored
  kept, status (delivered | pending | dead), next attempt at ms (0 none)
]]

local message, outcome, code, fault = args.text(), args.text(), args.text(), args.text()
local wait, give_up = args.int(), args.int()
local since = redis.call('HGET', KEYS[1], 'since')
if not since then
  redis.call('ZREM', KEYS[3], message)
  return { 'missing' }
end
local now = clock.real_ms()
local status, next_at = 'delivered', 0
if outcome ~= 'delivered' then
  status, next_at = 'pending', now + wait
  if next_at > args.stored(since) + give_up then
    status, next_at = 'dead', 0
  end
end
redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'status', status, 'code', code, 'fault', fault,
  'attempted_at', args.digits(now), 'next_at', args.digits(next_at))
if status == 'dead' then
  redis.call('ZADD', KEYS[2], args.digits(now), message)
end
if next_at > 0 then
  redis.call('ZADD', KEYS[3], args.digits(next_at), message)
else
  redis.call('ZREM', KEYS[3], message)
end
return { 'kept', status, args.digits(next_at) }
