-- The straight path: the commonest reserves, denials, commits and releases, decided at the beginning of their call. It
-- applies every check and writes what the general path would write, but only while nothing rare is there: the facts are
-- true, the windows have not turned, nothing has expired, and there are no grants, blocked amounts or draws. In all other
-- cases it returns nil and has written nothing; the general path then decides. What it replies is one text, a line for
-- each element of the reply that the general path returns as a list: a list takes longer to write and to read.
local straight = {}

-- A counter and `.account`, see lib/account.
straight.counter_pattern = '^(%d+)%+(%d+)/(%S+ %S+)#(%w+)$'
straight.account_pattern = '^version=(%d+) expiry=(%d+) ttl=(%d+)(.*)$'

-- The earliest expiry of an owner's holds that is still to come (0: there is none), as text; nil if one is due.
function straight.next_expiry(holds, stored, now)
  if stored == '0' or stored + 0 > now then
    return stored
  end
  local first = redis_call('ZRANGE', holds, 0, 0, 'WITHSCORES')
  if not first[1] then
    return '0'
  end
  return first[2] + 0 > now and first[2] or nil
end
