-- Reading ARGV and stored texts. The only place that turns text into numbers.
-- Amounts stay below 2^53, where a Lua number is an exact integer. Numbers go into replies and into redis.call as they
-- are (Redis writes them with 17 digits); joined with text or kept, they go through `digits`, since `..` writes 14.
local args = { position = 0 }

function args.text()
  args.position = args.position + 1
  return ARGV[args.position]
end

function args.int()
  args.position = args.position + 1
  return tonumber(ARGV[args.position])
end

-- A stored integer; a field that is not there counts 0.
function args.stored(value)
  return value and tonumber(value) or 0
end

-- An integer as text: never an exponent.
function args.digits(number)
  return string.format('%.0f', number)
end
