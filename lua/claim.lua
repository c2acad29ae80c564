--[[
claim: claims due deliveries. They become due again after the lease, in case the node that claimed them dies.

KEYS
  1  pending deliveries of a webhook, by the time of the next attempt

ARGV
  count, lease_ms

Replies
  claimed, messages…
]]

local count, lease = args.int(), args.int()
local now = clock.real_ms()
local answer = { 'claimed' }
for _, message in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', args.digits(now), 'LIMIT', 0, count)) do
  redis.call('ZADD', KEYS[1], args.digits(now + lease), message)
  answer[#answer + 1] = message
end
return answer
