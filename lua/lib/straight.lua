-- The straight path: the commonest reserves, denials, commits and releases, decided at the beginning of their call. It
-- applies every check and writes what the general path would write, but only in the common case: the node's
-- facts are correct, no window has turned, nothing has expired, and there are no grants, blocked amounts or draws. In all
-- other cases it writes nothing and returns nil, and the general path decides. Its answer is one text: the parts of the
-- general path's reply, separated by line ends.
local straight = {
  -- A counter, with its window and sequence number as one tail, and `.account`, see lib/account. Most counters of a group
  -- have one tail, so a tail is parsed only if it differs from that of the call before.
  counter_pattern = '^(%d+)%+(%d+)(/.*)$',
  account_pattern = '^version=(%d+) expiry=(%d+) ttl=(%d+)(.*)$',
}

-- The earliest expiry of an owner's holds that is still to come (0: there is none), as text; nil if one is due.
function straight.next_expiry(holds, now)
  local first = redis_call('ZRANGE', holds, 0, 0, 'WITHSCORES')
  if not first[1] then
    return '0'
  end
  return first[2] + 0 > now and first[2] or nil
end
