--[[
grant: adds extra quota to one counter, within its window or in every window until a time; also by approving a request.

KEYS
  1   stamp of the configuration in this bucket
  2   record of this operation
  3   test clock (read only in a sandbox)
  4…  counters, holds, past of the owner, and unless it is a user the index of its scope
  then, in this order:
      index of users
      users to be forgotten
      grants of the bucket: what is known of each
      their ends
      audit log
      approvals, those that are open, those that are decided
      outbox

ARGV
  fingerprint ('-' without an idempotency key)
  facts: see lib/facts (forget_at '-')
  owners: see lib/counter; one with one group, or with none while the group's period does not cover now
  user ('' if the owner is none), group, grant id, amount
  ends_at_ms ('*' with the window), sort_ms: when it ends as far as is known ('+inf' never)
  about: what is known of the grant
  audit: field count, then name and value each
  approval id ('-': none was asked for), how it was decided (JSON)
  answer: what to tell again for the idempotency key

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  stale_configuration | stale_stamp | stale_user | stale_time    as in reserve
  missing, now                              there is no such approval request
  decided, now, status                      it was approved or rejected before
  full, now                                 the counter has 8 live grants
  overflow, now                             they would add up beyond 2^53 - 1
  granted, now, answer
]]

-- Grants of other counters that have ended, forgotten with each new one.
local swept = 16

local fingerprint = args.text()
local seen = operation.seen(KEYS[2], fingerprint)
if seen then
  return seen
end

local given = facts.read()
local owners, tail = counter.owners(4)
local users, leaving, grants, ends, log = KEYS[tail], KEYS[tail + 1], KEYS[tail + 2], KEYS[tail + 3], KEYS[tail + 4]
local approvals, open, decided, outbox_key = KEYS[tail + 5], KEYS[tail + 6], KEYS[tail + 7], KEYS[tail + 8]
local user, id, grant, amount = args.text(), args.text(), args.text(), args.text()
local ends_at, sort, about = args.text(), args.text(), args.text()
local trail, request_id, how, told = audit.read(), args.text(), args.text(), args.text()
local stale, now = facts.check(given, KEYS[1], KEYS[3], owners)
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

local owner = owners[1]
local group = owner.groups[1] or { id = id, serial = '-', granted = 0 }
local live, dead = {}, {}
for name, granted, serial, finish in allowance.each(group.grants or redis.call('HGET', owner.counters, id .. '.grants') or '') do
  if allowance.is_live(serial, finish, group, now) then
    live[#live + 1] = name .. ':' .. granted .. ':' .. serial .. ':' .. finish
  else
    dead[#dead + 1] = name
  end
end
if #live >= allowance.most_grants then
  return operation.keep(KEYS[2], fingerprint, { 'full', now })
end
if group.granted + args.stored(amount) > counter.most then
  return operation.keep(KEYS[2], fingerprint, { 'overflow', now })
end
live[#live + 1] = grant .. ':' .. amount .. ':' .. (ends_at == '*' and group.serial or '*') .. ':' .. ends_at

counter.write(owner, 'held', now, {})
local fields = { id .. '.grants', table.concat(live, ','), 'adjusted', '1' }
if given.version == '0' then
  -- State by hand is not forgotten.
  local time = redis.call('TIME')
  fields[#fields + 1], fields[#fields + 2] = 'version', args.digits(time[1] * 1000000 + time[2])
end
redis.call('HSET', owner.counters, unpack(fields))
redis.call('HSET', grants, grant, owner.counters .. ' ' .. id .. '\n' .. about)
redis.call('ZADD', ends, sort, grant)
if owner.renew == '-' then
  redis.call('ZADD', users, 0, user)
else
  retention.renew(owner, now, given.sandbox)
end
audit.write(log, trail)
if request then
  approval.decide(request, 'approved', how, approvals, open, decided, now)
  approval.unmark(owner.counters, request)
  outbox.tell(outbox_key, 'approval.decided', now, {
    'owner', owner.counters, 'group', id, 'window', request.window, 'approval', request.id, 'status', 'approved', 'how', how,
  })
end
if given.version == '0' then
  redis.call('HDEL', owner.counters, 'forget_at')
  retention.stay(owner, user, leaving)
end
-- The end that was known when a grant was made may have moved with its window.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, swept)) do
  local counters, of = string.match(redis.call('HGET', grants, name) or '', '^(%S+) (%S+)\n')
  local values = counters and redis.call('HMGET', counters, of .. '.grants', of .. '.window') or {}
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
return operation.keep(KEYS[2], fingerprint, { 'granted', now, told })
