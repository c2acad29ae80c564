--[[
grant: adds extra quota to one counter, within its window or in every window until a time; also by approving a request.

KEYS
  1   record of this operation
  2   account of the owner

ARGV
  see lib/proposal; its own, with an owner of one group, or of none while the group's period is not running
  5   user ('' if the owner is none)
  6   group
  7   grant id
  8   amount
  9  ends_at_ms ('*' with the window)
  10  sort_ms: when it ends, as far as known ('+inf' never)
  11  about: details of the grant
  12  approval id ('-': none), 13 decision (JSON)
  14  answer: stored for the idempotency key
  15…  audit: field count, then name and value each

Replies, in order of precedence
  unknown                                   the program has to be defined
  replayed, record | reused                 see lib/operation
  stale_configuration | stale_stamp | stale_user | stale_time    as in reserve
  missing, now                              there is no such approval request
  decided, now, status                      it was approved or rejected before
  full, now                                 the counter has 8 live grants
  overflow, now                             they would add up beyond 2^53 - 1
  granted, now, answer
]]

-- Ended grants of other counters that are removed with each new grant.
local swept = 16

local p = proposal.read(2, 11 + 2 * ARGV[15])
if not p then
  return { 'unknown' }
end
local seen = operation.seen(KEYS[1], p.fingerprint)
if seen then
  return seen
end
local function of(name)
  return keys.of(p.tag, name)
end
local users, leaving, grants, ends = of('users'), of('leaving'), of('grants'), of('grants:ends')
local approvals, open, decided = of('approvals'), of('approvals:open'), of('approvals:decided')
local user, id, grant, amount, ends_at, sort, about = unpack(ARGV, 5, 11)
local request_id, how, answer = unpack(ARGV, 12, 14)
args.skip(14)
local audit_entry = audit.read()
local stale, now = facts.check(p)
if stale then
  return stale
end

local request
if request_id ~= '-' then
  request = approval.read(approvals, request_id)
  if not request then
    return { 'missing', now }
  end
  if request.status ~= 'open' then
    return { 'decided', now, request.status }
  end
end

local owner = p.owners[1]
local group = owner.groups[1] or { id = id, seq = '-', granted = 0 }
local live, dead = {}, {}
for name, granted, seq, finish in allowance.each(group.grants or redis.call('HGET', owner.key, id .. '.grants') or '') do
  if allowance.is_live(seq, finish, group, now) then
    live[#live + 1] = name .. ':' .. granted .. ':' .. seq .. ':' .. finish
  else
    dead[#dead + 1] = name
  end
end
if #live >= allowance.most_grants then
  return operation.keep(KEYS[1], p.fingerprint, { 'full', now })
end
if group.granted + args.stored(amount) > counter.most then
  return operation.keep(KEYS[1], p.fingerprint, { 'overflow', now })
end
live[#live + 1] = grant .. ':' .. amount .. ':' .. (ends_at == '*' and group.seq or '*') .. ':' .. ends_at

owner.adjusted = true
if p.version == '0' then
  retention.adopt(owner)
end
counter.write(owner, now, { id .. '.grants', table.concat(live, ',') })
redis.call('HSET', grants, grant, owner.key .. ' ' .. id .. '\n' .. about)
redis.call('ZADD', ends, sort, grant)
if owner.renew == '-' then
  redis.call('ZADD', users, 0, user)
else
  retention.renew(owner, now, p.sandbox)
end
audit.write(of('audit'), audit_entry)
if request then
  approval.decide{
    request = request, status = 'approved', how = how, now = now, approvals = approvals, open = open, decided = decided,
  }
  approval.unmark(owner.key, request)
  outbox.add(p.outbox, 'approval.decided', now, {
    'owner', owner.key, 'group', id, 'window', request.window, 'approval', request.id, 'status', 'approved', 'how', how,
  })
end
if p.version == '0' then
  retention.stay(owner, user, leaving)
end
-- The known end of a grant may have moved with its window.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, swept)) do
  local key, of = string.match(redis.call('HGET', grants, name) or '', '^(%S+) (%S+)\n')
  local values = key and redis.call('HMGET', key, of .. '.grants', of) or {}
  local finish = allowance.ends(values[1] or '', name, values[2], now)
  if finish then
    redis.call('ZADD', ends, finish, name)
  else
    dead[#dead + 1] = name
  end
end
if #dead > 0 then
  redis.call('HDEL', grants, unpack(dead))
  redis.call('ZREM', ends, unpack(dead))
end
return operation.keep(KEYS[1], p.fingerprint, { 'granted', now, answer })
