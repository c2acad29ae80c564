--[[
stamp: raises a bucket's configuration stamp; it never falls.

KEYS
  1  stamp

ARGV
  revision

Replies
  stamped, stamp
]]

local revision = args.int()
local stamp = args.stored(redis.call('GET', KEYS[1]))
if revision > stamp then
  stamp = revision
  redis.call('SET', KEYS[1], args.digits(stamp))
end
return { 'stamped', args.digits(stamp) }
