-- The names of a counter's fields, put together once per group while the library is loaded.
local names = { most = 10000 }

local known, count = {}, 0

function names.of(id)
  local found = known[id]
  if not found then
    if count >= names.most then
      known, count = {}, 0
    end
    found = { window = id .. '.window', used = id .. '.used', held = id .. '.held' }
    known[id], count = found, count + 1
  end
  return found
end

-- The fields to read of a counters hash: `own` ones of the owner, then three of each group or account. They are put into
-- `fields`, where others may be left behind them. Answers how many they are.
function names.fields(own, groups, fields)
  local last = #own
  for place = 1, last do
    fields[place] = own[place]
  end
  for place = 1, #groups do
    local of = groups[place].names
    fields[last + 1], fields[last + 2], fields[last + 3] = of.window, of.used, of.held
    last = last + 3
  end
  return last
end
