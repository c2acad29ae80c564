--[[
limit: sets another quota for one owner in one group, or removes it.

KEYS
  1   record of this operation
  2   account of the owner

ARGV
  see lib/proposal; its own, with the groups of the owner's scope, whose windows say how long it stays
  5   user ('' if the owner is none)
  6   group
  7   the owner's own quota as lib/own_quota stores it ('' removes it)
  8   until_ms ('*' without an end, '' if it is removed)
  9   answer: stored for the idempotency key
  10… audit: field count, then name and value each

Replies, in order of precedence
  unknown                                   the program has to be defined
  replayed, record | reused                 see lib/operation
  stale_configuration | stale_stamp | stale_user | stale_time    as in reserve
  missing, now                              there is nothing to remove
  limited, now, answer
]]

local p = proposal.read(2, 6 + 2 * ARGV[10])
if not p then
  return { 'unknown' }
end
local seen = operation.seen(KEYS[1], p.fingerprint)
if seen then
  return seen
end
local user, id, item, until_ms, answer = unpack(ARGV, 5, 9)
args.skip(9)
local audit_entry = audit.read()
local stale, now = facts.check(p)
if stale then
  return stale
end
local owner = p.owners[1]
local kept, last, had = own_quota.without(owner.key, id, now)
if item == '' and not had then
  return { 'missing', now }
end
if item ~= '' then
  kept[#kept + 1] = item
  last = (last == 'never' or until_ms == '*') and 'never' or math.max(last or 0, args.stored(until_ms))
end

owner.limited = #kept > 0
if p.version == '0' then
  retention.adopt(owner)
end
local changes = { '.quotas', table.concat(kept, ',') }
local count = account.append(owner, changes, 2)
chunked_hash.set(owner.key, changes, count)
if not owner.limited then
  redis.call('HDEL', owner.key, '.quotas')
end
if owner.renew == '-' then
  redis.call('ZADD', keys.of(p.tag, 'users'), 0, user)
else
  -- An owner with a limit stays as long as the limit; without one it expires as before, unless it has grants or credits.
  local has_credits = redis.call('EXISTS', keys.credits(p.tag, owner.word)) == 1
  if owner.forget_at == 'never' and not owner.adjusted and not has_credits then
    owner.forget_at = false
  end
  if last == 'never' then
    owner.renew = 'never'
  elseif last and owner.renew ~= 'never' then
    owner.renew = args.digits(math.max(args.stored(owner.renew), last + clock.grace_ms))
  end
  retention.renew(owner, now, p.sandbox)
end
audit.write(keys.of(p.tag, 'audit'), audit_entry)
if p.version == '0' then
  retention.stay(owner, user, keys.of(p.tag, 'leaving'))
end
return operation.keep(KEYS[1], p.fingerprint, { 'limited', now, answer })
