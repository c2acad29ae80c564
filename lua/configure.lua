--[[
configure: writes fields of an app's configuration if it is still at the revision that the node read, with the
versions of what has changed and the audit log.

KEYS
  1   configuration of the app
  2   record of this operation
  3   audit log
  4…  versions of one plan or policy each

ARGV
  fingerprint ('-' without an idempotency key)
  expected revision, new revision (greater)
  answer: stored for the idempotency key
  fields to set: count, then name and value each
  fields to delete: count, then the names
  versions: count, then per key from KEYS[4]: the document at the new revision, '' for one that is deleted
  audit: entry count, then per entry: field count, then name and value each

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  stale, revision                           somebody else was first
  configured, answer
]]

local versions = {
  most = 100,
  -- A reservation may need the version it was made with for a day and its grace, counted from the time of the next
  -- version; revisions are times in µs.
  needed_us = 25 * 3600 * 1000000,
  -- The history of a deleted document is stored for 90 days.
  deleted_ttl_ms = 90 * 24 * 3600 * 1000,
}

-- Drops versions beyond the history, oldest first.
local function trim(key)
  if redis.call('HLEN', key) <= versions.most then
    return
  end
  local revisions = redis.call('HKEYS', key)
  table.sort(revisions, function(one, other) return args.stored(one) < args.stored(other) end)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  for place = 1, #revisions - versions.most do
    if args.stored(revisions[place + 1]) + versions.needed_us < now then
      redis.call('HDEL', key, revisions[place])
    end
  end
end

local fingerprint = args.text()
local seen = operation.seen(KEYS[2], fingerprint)
if seen then
  return seen
end

local expected, revision, answer = args.text(), args.text(), args.text()
local current = redis.call('HGET', KEYS[1], 'revision') or '0'
if current ~= expected then
  return { 'stale', current }
end
local changes = { 'revision', revision }
for _ = 1, 2 * args.int() do
  changes[#changes + 1] = args.text()
end
chunked_hash.set(KEYS[1], changes)
for _ = 1, args.int() do
  redis.call('HDEL', KEYS[1], args.text())
end
for place = 1, args.int() do
  local key, document = KEYS[3 + place], args.text()
  if document == '' then
    redis.call('PEXPIRE', key, versions.deleted_ttl_ms)
  else
    redis.call('HSET', key, revision, document)
    redis.call('PERSIST', key)
    trim(key)
  end
end
for _ = 1, args.int() do
  audit.write(KEYS[3], audit.read())
end
return operation.keep(KEYS[2], fingerprint, { 'configured', answer })
