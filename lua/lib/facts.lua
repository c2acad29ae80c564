-- The facts on which the node based groups, amounts and windows, checked before anything is written.
local facts = {
  -- A user's state apart from its counters.
  fields = { '.plan', '.limits', '.block' },
}

-- For a call without a program (change_user). ARGV: '<sandbox (0|1)> <configuration revision> <most entries of the
-- ledger>', then version, valid_from_ms, valid_until_ms as in lib/proposal. Returns a proposal without owners.
function facts.read(stamp_key)
  local settings, version, valid_from, valid_until = args.texts(4)
  local sandbox, revision, ledger_most = string.match(settings, '^(%d) (%d+) (%d+)$')
  local tag = keys.tag(stamp_key)
  ledger.open(keys.of(tag, 'ledger'), ledger_most)
  return { program = { revision = revision }, tag = tag, stamp_key = stamp_key, sandbox = args.stored(sandbox), version = version,
    valid_from = args.stored(valid_from), valid_until = args.stored(valid_until), forget_at = '-', owners = {},
    expiry_outbox = false }
end

-- If the clock stepped back before a window that has begun, the time is that window's start. Returns the time, and
-- whether a proposed window is over.
local function catch_up(owners, now, valid_from)
  local over = false
  for at = 1, #owners do
    local owner = owners[at]
    for place = 1, #owner.groups do
      local group = owner.groups[place]
      local start = group.later_start
      over = over or start
      if not start and now < valid_from and group.change == 'same' then
        start = string.match(group.window, '/([^/]+)/')
      end
      if start then
        now = math.max(now, clock.parse(start))
      end
    end
  end
  return now, over
end

-- Whether the first of two revisions, as texts, is the later one.
local function is_later(one, other)
  return args.stored(one) > args.stored(other)
end

-- Reads the counters. Returns nil and the time, or the first stale fact as a reply. A bucket without a stamp, or with
-- an older one, may be in a Redis with other data: the node checks this and stamps the bucket before anything is
-- written.
function facts.check(p)
  local now = clock.now_ms(keys.of(p.tag, 'clock'), p.sandbox)
  local stamp = redis.call('GET', p.stamp_key)
  local subject = p.owners[1]
  subject.mortal = subject.mortal or p.forget_at ~= '-'
  local behind = false
  for at = 1, #p.owners do
    behind = counter.read(p.owners[at], now) or behind
  end
  if (stamp or '0') ~= p.program.revision then
    if is_later(stamp, p.program.revision) then
      return { 'stale_configuration', now, args.stored(stamp) }
    end
    return { 'stale_stamp', now }
  end
  if p.version ~= '-' and subject.version ~= p.version then
    local truth = redis.call('HMGET', subject.key, unpack(facts.fields))
    return { 'stale_user', now, subject.version, truth[1] or '', truth[2] or '', truth[3] or '' }
  end
  local over = false
  if behind or now < p.valid_from then
    now, over = catch_up(p.owners, now, p.valid_from)
  end
  if over or now < p.valid_from or now >= p.valid_until then
    return { 'stale_time', now }
  end
  return nil, now
end

-- Removes expired holds, one batch in total, and reads the counters again. Returns how many were removed, and whether
-- more have expired.
function facts.reclaim(p, now)
  local reclaimed, more = 0, false
  for at = 1, #p.owners do
    local owner = p.owners[at]
    if owner.next_expiry > 0 and owner.next_expiry <= now then
      local count, rest = hold.reclaim(owner, now, p.expiry_outbox)
      reclaimed = reclaimed + count
      more = more or rest
      counter.read(owner, now)
    end
  end
  return reclaimed, more
end
