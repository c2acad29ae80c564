#!lua name=bench
-- A reserve of three groups and its commit without any decision: the commands and texts of lua/reserve.lua and lua/commit.lua
-- for the plan `calls_plan`, with the same KEYS and ARGV.
local call, match, sub, format
-- Small integers by their texts, and texts by small integers.
local number, text = {}, {}

local function begin()
  if not call then
    call, match, sub, format = redis.call, string.match, string.sub, string.format
    for value = 0, 255 do
      text[value] = format('%d', value)
      number[text[value]] = value
    end
  end
end

local tag = 'qg:{default:live}:'

local function now_text()
  local time = call('TIME')
  return time[1] .. sub('00000' .. time[2], -6, -4)
end

-- The text of an integer after a change.
local function changed(value, change)
  local sum = (number[value] or value + 0) + change
  return text[sum] or format('%d', sum)
end

local function counters(account)
  local values = call('HMGET', account, '.account', 'month', 'also_month', 'day')
  local used1, held1, tail1 = match(values[2], '^(%d+)%+(%d+)(/.*)$')
  local used2, held2, tail2 = match(values[3], '^(%d+)%+(%d+)(/.*)$')
  local used3, held3, tail3 = match(values[4], '^(%d+)%+(%d+)(/.*)$')
  return used1, held1, tail1, used2, held2, tail2, used3, held3, tail3
end

local function reserve(keys, argv)
  begin()
  local created = now_text()
  call('GET', tag .. 'stamp')
  local used1, held1, tail1, used2, held2, tail2, used3, held3, tail3 = counters(keys[2])
  local word, name, about = sub(keys[2], #tag + 9), sub(keys[1], #tag + 4), argv[6]
  local label, expires = sub(about, 1, #about - #word + 4), format('%d', created + argv[5])
  held1, held2, held3 = changed(held1, argv[8]), changed(held2, argv[9]), changed(held3, argv[10])
  local list = 'month:1:' .. argv[8] .. ',also_month:1:' .. argv[9] .. ',day:1:' .. argv[10]
  call('SET', keys[1], 'held ' .. created .. ' ' .. argv[5] .. ' ' .. argv[1] .. '\n' .. label .. '\n' .. argv[7] .. '\n' .. word .. ' ' .. list,
    'NX', 'GET', 'PX', '4500000')
  call('HSET', keys[2], 'month', used1 .. '+' .. held1 .. tail1, 'also_month', used2 .. '+' .. held2 .. tail2,
    'day', used3 .. '+' .. held3 .. tail3)
  call('ZADD', tag .. 'holds:' .. word, expires, name .. ' ' .. list .. ' ' .. label .. ' ' .. created)
  return 'held\n' .. created .. '\n0\n' .. used1 .. '+' .. held1 .. ' ' .. used2 .. '+' .. held2 .. ' ' .. used3 .. '+' .. held3
end

local function commit(keys)
  begin()
  local found = call('GET', keys[1])
  local created, label, memo, word, list = match(found, '^held (%d+) %d+ %S+\n([^\n]*)\n([^\n]*)\n(%S+) (%S+)$')
  local at_ms, name, account = now_text(), sub(keys[1], #tag + 4), tag .. 'account:' .. word
  local used1, held1, tail1, used2, held2, tail2, used3, held3, tail3 = counters(account)
  used1, used2, used3 = changed(used1, 1), changed(used2, 1), changed(used3, 1)
  held1, held2, held3 = changed(held1, -1), changed(held2, -1), changed(held3, -1)
  call('ZREM', tag .. 'holds:' .. word, name .. ' ' .. list .. ' ' .. label .. ' ' .. created)
  local month, also_month, day = used1 .. '+' .. held1 .. tail1, used2 .. '+' .. held2 .. tail2, used3 .. '+' .. held3 .. tail3
  call('HSET', account, 'month', month, 'also_month', also_month, 'day', day)
  local about = label .. ' ' .. sub(word, 6)
  call('XADD', tag .. 'ledger', 'MAXLEN', '~', '1000000', '*', 'entry',
    'commit ' .. at_ms .. ' 0 ' .. name .. ' ' .. created .. ' ' .. about .. '\n' .. word .. ' month:1:1:' .. used1 .. ':1000000,also_month:1:1:'
    .. used2 .. ':1000000,day:1:1:' .. used3 .. ':1000000\n' .. memo .. '\n')
  call('SETRANGE', keys[1], '0', 'used')
  return 'settled\n' .. at_ms .. '\ncommitted\n0\n0\n' .. about .. '\n' .. memo .. '\n1\n\n' .. word .. ' month ' .. month .. ' also_month '
    .. also_month .. ' day ' .. day
end

redis.register_function('bench_reserve', reserve)
redis.register_function('bench_commit', commit)
