--[[
set_clock: freezes a sandbox bucket's test clock. It moves forward only.

KEYS
  1  test clock
  2  index of users

ARGV
  time_ms
  empty (0|1): the caller found the whole sandbox empty

Replies, in order of precedence
  backwards, current                        the clock already stands later
  not_empty, now                            the first setting lies in the past of a sandbox that holds users
  frozen, time_ms
]]

local time, empty = args.int(), args.int() == 1
local frozen = redis.call('GET', KEYS[1])
local users = redis.call('EXISTS', KEYS[2]) == 1 or not empty
if frozen and args.stored(frozen) > time then
  return { 'backwards', frozen }
end
if not frozen and users and time < clock.real_ms() then
  return { 'not_empty', args.digits(clock.real_ms()) }
end
redis.call('SET', KEYS[1], args.digits(time))
return { 'frozen', args.digits(time) }
