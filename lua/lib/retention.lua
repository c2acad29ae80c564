-- How long an owner's keys live. A user who never had a subscription, on the default plan, is forgotten after the last
-- of the windows that counted anything; everyone else stays.
local retention = {
  -- Names that are due are taken from the index a few at a time, by the calls that add names: no sweeper is needed.
  swept = 8,
}

local function sweep(users, leaving)
  local due = redis.call('ZRANGEBYSCORE', leaving, '-inf', args.digits(clock.real_ms()), 'LIMIT', 0, retention.swept)
  if #due > 0 then
    redis.call('ZREM', leaving, unpack(due))
    redis.call('ZREM', users, unpack(due))
  end
end

-- After the writes of a call: `forget_at` is '-' (the owner stays), 'never', or the time (ms) after which nothing of
-- what the call counted matters any more. `users` and `leaving` are the index of users and those to be forgotten.
function retention.keep(owner, given, now, users, leaving)
  if given.forget_at == '-' or #owner.groups == 0 then
    return
  end
  local known = redis.call('HGET', owner.counters, 'forget_at')
  local forget_at = given.forget_at
  if known == 'never' or (known and forget_at ~= 'never' and args.stored(known) > args.stored(forget_at)) then
    forget_at = known
  end
  if forget_at ~= known then
    redis.call('HSET', owner.counters, 'forget_at', forget_at)
    redis.call('ZADD', users, 0, given.user)
    sweep(users, leaving)
  end
  if forget_at == 'never' then
    retention.stay(owner, given.user, leaving)
    return
  end
  local ttl = clock.ttl(args.stored(forget_at) - now, given.sandbox)
  for _, key in ipairs({ owner.counters, owner.holds, owner.past }) do
    redis.call('PEXPIRE', key, args.digits(ttl))
  end
  -- A second later than its keys, so that a name that is due has none.
  redis.call('ZADD', leaving, args.digits(clock.real_ms() + ttl + 1000), given.user)
end

-- The owner is not forgotten any more.
function retention.stay(owner, user, leaving)
  for _, key in ipairs({ owner.counters, owner.holds, owner.past }) do
    redis.call('PERSIST', key)
  end
  redis.call('ZREM', leaving, user)
end
