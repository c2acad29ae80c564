--[[
claim: takes deliveries that are due. They are due again after the lease, should the node that took them die.

KEYS
  1  deliveries of a webhook that still have to be made, by when

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
