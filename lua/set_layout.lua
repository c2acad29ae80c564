--[[
set_layout: sets the version of the layout, if it still is the expected one.

KEYS
  1  layout

ARGV
  expected layout, new layout

Replies
  set
  other                                     it was not the expected one, and stays
]]

local before, after = args.texts(2)
if redis.call('GET', KEYS[1]) ~= before then
  return { 'other' }
end
redis.call('SET', KEYS[1], after)
return { 'set' }
