-- Reading ARGV and stored texts. The only place that turns text into numbers.
-- Amounts stay below 2^53, where a Lua number is an exact integer. Numbers go into replies and into redis.call as they
-- are (Redis writes them with 17 digits); joined with text or kept, they go through `digits`, since `..` writes 14.
local args = {
  -- Small integers by their texts, and texts by small integers.
  number = {}, small = {},
  -- The position of the last argument that was read.
  position = 0,
  -- Largest integer that a Lua number holds exactly.
  most = 9007199254740991,
}

function args.text()
  args.position = args.position + 1
  return ARGV[args.position]
end

function args.int()
  return args.text() + 0
end

-- Reads the next `count` texts at once.
function args.texts(count)
  local first = args.skip(count)
  return unpack(ARGV, first, args.position)
end

-- Skips `count` arguments, and returns the position of the first of them in ARGV.
function args.skip(count)
  args.position = args.position + count
  return args.position - count + 1
end

-- A stored integer; a missing field counts as 0. (Arithmetic parses a text once, `tonumber` does so twice.)
function args.stored(value)
  return value and value + 0 or 0
end

-- The part of a text from `from` to the next `mark`, and the position after the mark. Searching for a plain text is
-- much faster than a pattern, which is evaluated for every character.
function args.cut(text, from, mark)
  local finish = string.find(text, mark, from, true) or #text + 1
  return string.sub(text, from, finish - 1), finish + #mark
end

local small = args.small

-- Must run before the first call.
function args.prepare()
  for number = 0, 255 do
    small[number] = string.format('%d', number)
    args.number[small[number]] = number
  end
end

-- An integer as text, never with an exponent.
function args.digits(number)
  return small[number] or string.format('%d', number)
end
