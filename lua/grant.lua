#!lua
--[[
grant: adds extra quota to one counter, within its window or in every window until a time.

KEYS
  1   stamp of the configuration in this bucket
  2   record of this operation
  3   test clock (read only in a sandbox)
  4   counters, 5 holds, 6 past of the owner
  7   index of users
  8   users to be forgotten
  9   grants of the bucket: what is known of each
  10  their ends
  11  audit log

ARGV
  fingerprint ('-' without an idempotency key)
  facts: see lib/facts (forget_at '-')
  owners: one with one group (id, window, amount, limit), or with none while the group's period does not cover now
  user, group, grant id, amount
  ends_at_ms ('*' with the window), sort_ms: when it ends as far as is known ('+inf' never)
  about: what is known of the grant
  audit: field count, then name and value each
  answer: what to tell again for the idempotency key

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  stale_configuration | stale_user | stale_time    as in reserve
  full, now                                 the counter has 8 live grants
  overflow, now                             they would add up beyond 2^53 - 1
  granted, now, answer
]]
--- @include "lib/args"
--- @include "lib/clock"
--- @include "lib/window"
--- @include "lib/hold"
--- @include "lib/allowance"
--- @include "lib/counter"
--- @include "lib/facts"
--- @include "lib/operation"
--- @include "lib/retention"
--- @include "lib/audit"

-- Grants of other counters that have ended, forgotten with each new one.
local swept = 16

local fingerprint = args.text()
local seen = operation.seen(KEYS[2], fingerprint)
if seen then
  return seen
end

local given = facts.read()
local owners = counter.owners(4)
local user, id, grant, amount = args.text(), args.text(), args.text(), args.text()
local ends_at, sort, about = args.text(), args.text(), args.text()
local trail, told = audit.read(), args.text()
local stale, now, stamp = facts.check(given, KEYS[1], KEYS[3], owners)
if stale then
  return stale
end
facts.raise_stamp(given, KEYS[1], stamp)

local owner = owners[1]
local group = owner.groups[1] or { id = id, serial = '-', granted = 0 }
local live, dead = {}, {}
for name, granted, serial, finish in allowance.each(redis.call('HGET', owner.counters, id .. '.grants') or '') do
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

counter.write(owner, 'held', now)
local fields = { id .. '.grants', table.concat(live, ','), 'adjusted', '1' }
if given.version == '0' then
  -- State by hand is not forgotten.
  local time = redis.call('TIME')
  fields[5], fields[6] = 'version', args.digits(time[1] * 1000000 + time[2])
end
redis.call('HSET', owner.counters, unpack(fields))
redis.call('HSET', KEYS[9], grant, about)
redis.call('ZADD', KEYS[10], sort, grant)
redis.call('ZADD', KEYS[7], 0, user)
audit.write(KEYS[11], trail)
if given.version == '0' then
  redis.call('HDEL', owner.counters, 'forget_at')
  retention.stay(owner, user, KEYS[8])
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[10], '-inf', now, 'LIMIT', 0, swept)) do
  dead[#dead + 1] = name
end
if #dead > 0 then
  redis.call('HDEL', KEYS[9], unpack(dead))
  redis.call('ZREM', KEYS[10], unpack(dead))
end
return operation.keep(KEYS[2], fingerprint, { 'granted', now, told })
