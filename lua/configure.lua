#!lua
--[[
configure: writes fields of an app's configuration if it is still at the revision that the node read.

KEYS
  1  configuration of the app
  2  record of this operation

ARGV
  fingerprint ('-' without an idempotency key)
  expected revision, new revision (greater)
  answer: what to tell again for the idempotency key
  fields to set: count, then name and value each
  fields to delete: count, then the names

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  stale, revision                           somebody else was first
  configured, answer
]]
--- @include "lib/args"
--- @include "lib/operation"

local fingerprint = args.text()
local seen = operation.seen(KEYS[2], fingerprint)
if seen then
  return seen
end

local expected, revision, told = args.text(), args.text(), args.text()
local current = redis.call('HGET', KEYS[1], 'revision') or '0'
if current ~= expected then
  return { 'stale', current }
end
local changes = { 'revision', revision }
for _ = 1, 2 * args.int() do
  changes[#changes + 1] = args.text()
end
redis.call('HSET', KEYS[1], unpack(changes))
for _ = 1, args.int() do
  redis.call('HDEL', KEYS[1], args.text())
end
return operation.keep(KEYS[2], fingerprint, { 'configured', told })
