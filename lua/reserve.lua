--[[
reserve: checks every matched counter and places one hold in each of them, or in none.

KEYS
  1   record of this operation
  2…  per owner: account

ARGV
  see lib/proposal; its own
  5  ttl_ms
  6  about: '<event> <key> <user>', reported when the holds expire
  7  memo: the request, for whoever settles it (one line)

Replies, in order of precedence
  unknown                                   the program has to be defined
  replayed, record                          this operation was done before
  reused                                    the idempotency key came with another body
  stale_configuration, now, stamp           the node must load its configuration
  stale_stamp, now                          the node must make sure that this is its data, and stamp the bucket
  stale_user, now, version, subscription, limits, block
  stale_time, now                           a window does not contain now
  again, now, reclaimed                     denied, fitted to less than requested, or overflowing onto a balance, but more
    expired holds are due
  denied, now, reclaimed, precheck denial, free_at_ms, opened, counters; with an idempotency key also the groups as
    proposed: '<id> <amount> <limit> <window>,…'
  free_at_ms: when the first hold of every full concurrent group ends, else 0
  opened: approval requests, '<group>:<id>:<open|rejected>,…'; '' unless only approval is needed
  counters: per group '<used>+<held>[+<granted>+<blocked>[+<rolled>] ][=<own quota|->]', and '!' if it is over its limit, '?' if
    it only observes and would have denied the call
  held, now, reclaimed, counters            it expires ttl_ms after now; with `fit` (lib/fit) also the fitted value
  unmetered, now                            nothing to hold, or only in scopes without a place for another name; with
    `fit` also the fitted value
]]

local defined = program.known[ARGV[1]]
local reply = defined and defined.straight and straight_reserve.decide(defined)
if reply then
  return reply
end
local p = proposal.read(2, 3)
if not p then
  return { 'unknown' }
end
local seen = operation.seen(KEYS[1], p.fingerprint)
if seen then
  return seen
end
local ttl, about, memo = args.stored(ARGV[5]), ARGV[6], ARGV[7]
local refused = { key = keys.of(p.tag, 'denials'), call = 'reserve', about = about, memo = memo }
local refusal, now, reclaimed, more = admission.decide(p, refused)
if refusal then
  return refusal[1] == 'denied' and operation.keep(KEYS[1], p.fingerprint, refusal, p.owners) or refusal
end
local fitted
if p.fit then
  local is_whole
  fitted, is_whole = fit.enlarge(p)
  -- The expired holds may have taken room.
  if more and (not is_whole or credits.overflow(p.owners)) then
    return { 'again', now, reclaimed }
  end
  memo = fit.memo(p, memo, fitted)
end

-- A scope without a place for another name is left out if all its groups only observe.
local function is_placed(owner)
  return #owner.groups > 0 and not owner.scope_full
end

local placed = false
for at = 1, #p.owners do
  placed = placed or is_placed(p.owners[at])
end
if not placed then
  return operation.keep(KEYS[1], p.fingerprint, { 'unmetered', now, fitted }, p.owners)
end

local created, label, lines = args.digits(now), false, ''
local reservation = {
  name = string.sub(KEYS[1], #p.tag + 4), now = now, expires_at_ms = now + ttl, expires_at = args.digits(now + ttl), ending = false,
}
for at = 1, #p.owners do
  local owner = p.owners[at]
  if is_placed(owner) then
    -- The first owner's hold reports an expiry.
    local held_label = label and '-' or hold.label(about, owner.word)
    label, reservation.ending = label or held_label, held_label .. ' ' .. created
    lines = lines .. '\n' .. admission.place(owner, reservation)
    retention.keep(owner, p, now)
  end
end
local text = 'held ' .. created .. ' ' .. args.digits(ttl) .. ' -' .. record.rest(0, p.fingerprint, '') .. '\n' .. label .. '\n' .. memo .. lines
redis.call('SET', KEYS[1], text, 'PX', clock.ttl(ttl + clock.grace_ms, p.sandbox))
return { 'held', now, reclaimed, counter.states(p.owners), fitted }
