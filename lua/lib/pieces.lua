-- Reading and writing any number of fields of a hash: Lua cannot hand over more than some 8,000 values at once.
local pieces = { size = 4000 }

function pieces.get(key, fields)
  if #fields <= pieces.size then
    return redis.call('HMGET', key, unpack(fields))
  end
  local values = {}
  for first = 1, #fields, pieces.size do
    local last = math.min(first + pieces.size - 1, #fields)
    for place, value in ipairs(redis.call('HMGET', key, unpack(fields, first, last))) do
      values[first + place - 1] = value
    end
  end
  return values
end

-- `changes`: name and value each; the size of a piece is even.
function pieces.set(key, changes)
  for first = 1, #changes, pieces.size do
    redis.call('HSET', key, unpack(changes, first, math.min(first + pieces.size - 1, #changes)))
  end
end
