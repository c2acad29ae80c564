--[[
mark: a write after a call on the same connection, so that WAIT covers the call even if it only repeated an answer and
wrote nothing itself. Also works at maxmemory, where charges still settle.

KEYS
  1  mark, in the slot of the call

ARGV
  none

Replies
  marked
]]

redis.call('SET', KEYS[1], '', 'PX', 60000)
return { 'marked' }
