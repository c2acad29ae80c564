-- The straight path: the commonest reserves, denials, commits and releases, decided at the beginning of their call. It
-- applies every check and writes what the general path would write, but only in the common case: the node's
-- facts are correct, nothing has expired, and there are no grants, blocked amounts or draws. A reserve may begin a window if
-- nothing is held in the one before. In all other cases it writes nothing and returns nil, and the general path decides. Its
-- answer is one text: the parts of the general path's reply, separated by line ends. Its code is a text, see lib/unroll.
local straight = {
  -- A counter, with its window and sequence number as one tail, and `.account`, see lib/account. Most counters of a group
  -- have one tail, so a tail is parsed only if it differs from that of the call before.
  counter_pattern = '^(%d+)%+(%d+)(/.*)$',
  account_pattern = '^v(%d+) expiry=(%d+)(.*)$',
  -- The rest of an account whose alerts are watched, see lib/alert. Those of a counter are up to date if its window's text is
  -- the proposed one.
  watched = ' flags=w',
}

-- Takes apart what follows the expiry in `.account`. Most owners have the text of the call before.
function straight.read_account(owner, text)
  local longest, rest = match(text, '^ ttl=(%d+)(.*)$')
  rest = rest or text
  owner.account_end, owner.longest, owner.account_rest = text, longest or account.usual_ttl, rest
  owner.forget = match(rest, '^ forget=(%S+)$') or false
  owner.expires = owner.forget and owner.forget ~= 'never'
  owner.is_watched = rest == straight.watched
  -- All other flags need the general path.
  owner.is_common = rest == '' or owner.is_watched or owner.forget
end

-- The earliest expiry of an owner's holds that is still to come (0: there is none), as text; nil if one is due.
function straight.next_expiry(holds, now)
  local first = redis_call('ZRANGE', holds, '0', '0', 'WITHSCORES')
  if not first[1] then
    return '0'
  end
  return first[2] + 0 > now and first[2] or nil
end
