-- How long an owner's keys live. A user without any subscription, on the default plan, expires after the last of the
-- windows that counted anything; so does an owner whose name callers choose (metadata). All others stay.
local retention = {
  -- Expired names are removed from the index a few at a time by the calls that add names, so no separate cleanup is
  -- needed.
  swept = 8,
}

local function sweep(users, leaving)
  local due = redis.call('ZRANGEBYSCORE', leaving, '-inf', args.digits(clock.real_ms()), 'LIMIT', 0, retention.swept)
  if #due > 0 then
    redis.call('ZREM', leaving, unpack(due))
    redis.call('ZREM', users, unpack(due))
  end
end

-- Removes expired names from the index of a scope.
function retention.sweep_index(index)
  local due = redis.call('ZRANGEBYSCORE', index, '-inf', args.digits(clock.real_ms()), 'LIMIT', 0, retention.swept)
  if #due > 0 then
    redis.call('ZREM', index, unpack(due))
  end
end

-- The later of two expiry times.
local function later(known, wanted)
  if known == 'never' or (known and wanted ~= 'never' and args.stored(known) > args.stored(wanted)) then
    return known
  end
  return wanted
end

-- For an owner that is not a user: adds it to the index of its scope with its expiry.
function retention.renew(owner, now, sandbox)
  local forget_at = later(owner.forget_at, owner.renew)
  local changed = forget_at ~= owner.forget_at
  if changed then
    owner.forget_at = forget_at
    account.save(owner)
  end
  if forget_at == 'never' then
    if changed then
      redis.call('ZADD', owner.index, '+inf', owner.name)
      retention.persist(owner)
    end
    return
  end
  local ttl = clock.ttl(args.stored(forget_at) - now, sandbox)
  -- The set of holds is recreated whenever it was empty.
  redis.call('PEXPIRE', owner.holds, args.digits(ttl))
  -- The clock of a sandbox may stand still while real days pass.
  changed = changed or sandbox == 1
  if changed then
    redis.call('PEXPIRE', owner.key, args.digits(ttl))
    -- A second later than its keys, so that an expired name has none.
    redis.call('ZADD', owner.index, args.digits(clock.real_ms() + ttl + 1000), owner.name)
  end
  -- `past` may have to live as long.
  if changed or owner.has_closed then
    redis.call('PEXPIRE', owner.past, args.digits(ttl))
  end
end

-- After the writes of a call. For a user: the proposal's `forget_at` is '-' (the owner stays), 'never', or the time
-- (ms) after which no amount of the call matters any more.
function retention.keep(owner, p, now)
  if #owner.groups == 0 then
    return
  end
  if owner.renew ~= '-' then
    retention.renew(owner, now, p.sandbox)
    return
  end
  if p.forget_at == '-' then
    return
  end
  local users, leaving = keys.of(p.tag, 'users'), keys.of(p.tag, 'leaving')
  local known = owner.forget_at
  local forget_at = later(known, p.forget_at)
  if forget_at ~= known then
    owner.forget_at = forget_at
    account.save(owner)
    -- First, since the same name may have expired.
    sweep(users, leaving)
    redis.call('ZADD', users, 0, p.user)
  end
  if forget_at == 'never' then
    retention.stay(owner, p.user, leaving)
    return
  end
  local ttl = clock.ttl(args.stored(forget_at) - now, p.sandbox)
  for _, key in ipairs({ owner.key, owner.holds, owner.past }) do
    redis.call('PEXPIRE', key, args.digits(ttl))
  end
  -- A second later than its keys, so that an expired name has none.
  redis.call('ZADD', leaving, args.digits(clock.real_ms() + ttl + 1000), p.user)
end

function retention.persist(owner)
  for _, key in ipairs({ owner.key, owner.holds, owner.past }) do
    redis.call('PERSIST', key)
  end
end

-- The first version of a user whom an operator gives state, which does not expire. `retention.stay` follows the writes.
function retention.adopt(owner)
  local time = redis.call('TIME')
  owner.version, owner.forget_at = args.digits(time[1] * 1000000 + time[2]), false
end

-- The owner no longer expires.
function retention.stay(owner, user, leaving)
  retention.persist(owner)
  redis.call('ZREM', leaving, user)
end
