--[[
announce: informs all nodes that an app's configuration is about to change. Nodes poll
the count, and read the names of the apps only if it has changed.

KEYS
  1  count of changes of configurations
  2  apps by the count of their latest change

ARGV
  app

Replies
  announced
]]

local app = args.text()
local time = redis.call('TIME')
-- No count is used twice, even after a failover that lost some, unless the clock is set back.
local count = args.digits(math.max(args.stored(redis.call('GET', KEYS[1])) + 1, time[1] * 1000000 + time[2]))
redis.call('SET', KEYS[1], count)
redis.call('ZADD', KEYS[2], count, app)
return { 'announced' }
