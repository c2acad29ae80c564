-- What the node believed when it computed groups, amounts and windows, checked before anything is written.
local facts = {
  -- What is true of a user beside its counters.
  fields = { 'version', 'plan', 'since', 'cycle', 'until', 'limits', 'block' },
}

-- What is the same in every call to an app: '<sandbox> <revision> <tells_expiry> <ledger_most>'. Mostly they are those of
-- the call before.
local of_app, given = false, {
  sandbox = 0, revision = false, tells_expiry = false, ledger_most = 0,
  version = false, valid_from = 0, valid_until = 0, forget_at = false, user = false,
}

-- ARGV: '<sandbox (0|1)> <configuration revision> <whether expiries are told (0|1)> <how many entries the ledger may
-- have>', the version of the first owner's user ('0': nothing was ever written of the user; '-': it is no user),
-- valid_from_ms, valid_until_ms, forget_at ('-' | 'never' | ms, see lib/retention), and unless it is '-' the user.
function facts.read()
  local app, version, valid_from, valid_until, forget_at = args.texts(5)
  if app ~= of_app then
    local sandbox, revision, tells_expiry, ledger_most = string.match(app, '^(%d) (%d+) (%d) (%d+)$')
    given.sandbox, given.revision = args.stored(sandbox), revision
    given.tells_expiry, given.ledger_most = tells_expiry == '1', ledger_most
    of_app = app
  end
  given.version, given.valid_from, given.valid_until = version, args.stored(valid_from), args.stored(valid_until)
  given.forget_at, given.user = forget_at, forget_at ~= '-' and args.text()
  return given
end

-- When the clock stands before a window that has begun, since it stepped back: time is then that window's start.
-- Answers the time, and whether a window as proposed is over.
local function catch_up(owners, now, valid_from)
  local over = false
  for at = 1, #owners do
    local owner = owners[at]
    for place = 1, #owner.groups do
      local group = owner.groups[place]
      local start = group.later_start
      over = over or start
      if not start and now < valid_from and group.change == 'same' then
        start = string.match(group.window, '^%S+ (%S+)')
      end
      if start then
        now = math.max(now, clock.parse(start))
      end
    end
  end
  return now, over
end

-- Is the first of two revisions, as texts, the later one?
local function is_later(one, other)
  return args.stored(one) > args.stored(other)
end

-- Reads the counters. Answers nil and the time, or the first stale fact as a reply. A bucket without a stamp, or with an
-- older one, may be in a Redis that holds other data: the node looks and stamps it before anything is written.
function facts.check(given, stamp_key, clock_key, owners)
  local now = clock.now_ms(clock_key, given.sandbox)
  local stamp = redis.call('GET', stamp_key)
  local subject = owners[1]
  subject.mortal = subject.mortal or given.forget_at ~= '-'
  local behind = false
  for at = 1, #owners do
    local owner = owners[at]
    behind = counter.read(owner, now) or behind
  end
  if (stamp or '0') ~= given.revision then
    if is_later(stamp, given.revision) then
      return { 'stale_configuration', now, args.stored(stamp) }
    end
    return { 'stale_stamp', now }
  end
  if given.version ~= '-' and (subject.version or '0') ~= given.version then
    local truth = redis.call('HMGET', subject.counters, unpack(facts.fields))
    local answer = { 'stale_user', now }
    for place = 1, #facts.fields do
      answer[place + 2] = truth[place] or ''
    end
    return answer
  end
  local over = false
  if behind or now < given.valid_from then
    now, over = catch_up(owners, now, given.valid_from)
  end
  if over or now < given.valid_from or now >= given.valid_until then
    return { 'stale_time', now }
  end
  return nil, now
end

-- Takes what is due of expired holds, one batch in all, and reads the counters anew.
-- Answers how many were reclaimed and whether more are due.
function facts.reclaim(owners, now, outbox_key)
  local reclaimed, more = 0, false
  for at = 1, #owners do
    local owner = owners[at]
    if owner.next_expiry > 0 and owner.next_expiry <= now then
      local count, rest = hold.reclaim(owner, now, outbox_key)
      reclaimed = reclaimed + count
      more = more or rest
      counter.read(owner, now)
    end
  end
  return reclaimed, more
end
