-- Reading ARGV and stored texts. The only place that turns text into numbers.
-- Amounts stay below 2^53, where a Lua number is an exact integer. Numbers go into replies and into redis.call as they
-- are (Redis writes them with 17 digits); joined with text or kept, they go through `digits`, since `..` writes 14.
local args = {}
local position = 0

-- From the first one on.
function args.begin()
  position = 0
end

function args.text()
  position = position + 1
  return ARGV[position]
end

function args.int()
  position = position + 1
  return ARGV[position] + 0
end

-- The next `count` texts at once.
function args.texts(count)
  position = position + count
  return unpack(ARGV, position - count + 1, position)
end

-- A stored integer; a field that is not there counts 0. (Arithmetic reads a text once, `tonumber` does so twice.)
function args.stored(value)
  return value and value + 0 or 0
end

-- The part of a text from `from` to the next `mark`, and where what is behind the mark begins. Looking for a plain text
-- costs a fraction of a pattern, which goes through its classes at every character.
function args.cut(text, from, mark)
  local finish = string.find(text, mark, from, true) or #text + 1
  return string.sub(text, from, finish - 1), finish + #mark
end

-- An integer as text: never an exponent.
function args.digits(number)
  return string.format('%d', number)
end
