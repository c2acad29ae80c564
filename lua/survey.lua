--[[
survey: reads what `verify` needs in one moment: the newest entries of the ledger, and the state of some owners.

KEYS
  1   ledger
  2…  per owner: counters, holds, past, credits

ARGV
  after: entries after this id; maximum number of entries
  most_holds: the holds of an owner with more are not added up

Replies
  surveyed, more entries (0|1), count of entries, per entry: id, charges ('-' none); then per owner: count of what
    follows of its counters, names and values; the same of its past, and of its credits; holds: '-' too many, or
    '<group>:<seq>:<sum>,…'
]]

local function charges_of(fields)
  if fields[1] == 'entry' then
    local kind, charges = string.match(fields[2], '^(%l+)[^\n]*\n([^\n]*)')
    return kind and kind ~= 'expire' and charges or '-'
  end
  -- An entry of layout 6.
  for place = 1, #fields, 2 do
    if fields[place] == 'charges' then
      return fields[place + 1]
    end
  end
  return '-'
end

local after, most, most_holds = args.text(), args.int(), args.int()
local entries = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', most)
local answer = { 'surveyed', #entries == most and 1 or 0, #entries }
for _, entry in ipairs(entries) do
  answer[#answer + 1], answer[#answer + 2] = entry[1], charges_of(entry[2])
end

local function add_hash(key)
  local values = redis.call('HGETALL', key)
  answer[#answer + 1] = #values
  for _, value in ipairs(values) do
    answer[#answer + 1] = value
  end
end

for place = 2, #KEYS, 4 do
  add_hash(KEYS[place])
  add_hash(KEYS[place + 2])
  add_hash(KEYS[place + 3])
  if redis.call('ZCARD', KEYS[place + 1]) > most_holds then
    answer[#answer + 1] = '-'
  else
    local list = {}
    for group, by_seq in pairs((hold.due(KEYS[place + 1], '+inf', most_holds))) do
      for seq, sum in pairs(by_seq) do
        list[#list + 1] = group .. ':' .. seq .. ':' .. args.digits(sum)
      end
    end
    answer[#answer + 1] = table.concat(list, ',')
  end
end
return answer
