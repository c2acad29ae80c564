--[[
rollup: writes rows of days with the sums of further entries of a stream, and moves the cursor past those entries, if the
cursor has not moved since the node read it. So each entry is counted once, even if several nodes fold it or one dies.

A row costs Redis half as much if a plain command writes it. So a node makes two calls in one transaction (MULTI):

  rollup 'begin'    moves the days aside
  HSET, EXPIRE      write the rows to the days aside
  rollup 'end'      moves the days back, and the cursor

If another node was first, the days stay in place, and the end deletes what was written aside. Where transactions are
rejected, one call writes the whole. A transaction goes on if its first call fails, for example since the Redis user lacks
a permission. Then what is aside is not the whole day, and the end fails too.

KEYS
  1  cursor of the stream
  2  the stream
  3… pairs: a day, and its name while it is aside

ARGV
  begin | end | whole
  the old cursor ('' none), the new one: '<id> <entries folded> <rebuilds>'
  id of the last folded entry: if it no longer exists, the stream was replaced
  for the whole, per day: TTL (s), fields: count, then name and value each

Replies, in order of precedence
  moved                                     another node was first
  rolled
]]

local part, before, after, last = args.text(), args.text(), args.text(), args.text()
local is_first = (redis.call('GET', KEYS[1]) or '') == before and #redis.call('XRANGE', KEYS[2], last, last, 'COUNT', 1) > 0

local function set_aside(day, aside)
  -- Left over from a transaction whose calls failed since Redis did not have the library.
  redis.call('UNLINK', aside)
  if is_first and redis.call('EXISTS', day) == 1 then
    redis.call('RENAME', day, aside)
  end
end

local function is_one_in_place()
  for place = 3, #KEYS, 2 do
    if redis.call('EXISTS', KEYS[place]) == 1 then
      return true
    end
  end
  return false
end

local function put_back(day, aside)
  if is_first then
    redis.call('RENAME', aside, day)
  else
    redis.call('UNLINK', aside)
  end
end

local function write(day)
  local ttl = args.int()
  local left = 2 * args.int()
  while left > 0 do
    -- Lua cannot pass more than a few thousand arguments.
    local count = math.min(left, 1000)
    redis.call('HSET', day, args.texts(count))
    left = left - count
  end
  redis.call('EXPIRE', day, ttl)
end

if part == 'end' and is_first and is_one_in_place() then
  return redis.error_reply('ERR the beginning of this step has failed')
end
for place = 3, #KEYS, 2 do
  if part == 'begin' then
    set_aside(KEYS[place], KEYS[place + 1])
  elseif part == 'end' then
    put_back(KEYS[place], KEYS[place + 1])
  elseif is_first then
    write(KEYS[place])
  end
end
if not is_first then
  return { 'moved' }
end
if part ~= 'begin' then
  redis.call('SET', KEYS[1], after)
end
return { 'rolled' }
