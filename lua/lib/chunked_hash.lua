-- Reads and writes any number of fields of a hash in chunks: Lua cannot pass more than some 8,000 values at once.
local chunked_hash = { size = 4000 }

-- `count`: the number of fields, unless it is all of them.
function chunked_hash.get(key, fields, count)
  count = count or #fields
  if count <= chunked_hash.size then
    return redis.call('HMGET', key, unpack(fields, 1, count))
  end
  local values = {}
  for first = 1, count, chunked_hash.size do
    local last = math.min(first + chunked_hash.size - 1, count)
    for place, value in ipairs(redis.call('HMGET', key, unpack(fields, first, last))) do
      values[first + place - 1] = value
    end
  end
  return values
end

-- `changes`: name and value each, `count` texts unless it is all of them; the size of a chunk is even.
function chunked_hash.set(key, changes, count)
  count = count or #changes
  for first = 1, count, chunked_hash.size do
    redis.call('HSET', key, unpack(changes, first, math.min(first + chunked_hash.size - 1, count)))
  end
end
