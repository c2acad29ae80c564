-- Loop unrolling: the straight path is written as text, from which code is made once for each shape, that is how many owners
-- and groups a call has. Code without loops keeps what it reads in local variables, which costs a fifth of a call less than
-- loops over tables. In the text
--   each_owner[ … ]   is repeated for each owner
--   each_holder[ … ]  is repeated for each owner with groups
--   each_group[ … ]   stands in one of these, and is repeated for each group of the owner
--   $o, $g, $i        are the number of the owner, of the group among all groups, and of the group among those of its owner
--   $h                is the number of the first owner with groups
--   $r, $a, $e        are places in ARGV: of the owner's renewal, of the group's amount, and after the last amount
--   $first(a, b)      is a for the first owner with groups, and b for the others
-- Brackets must be balanced, also in strings.
local unroll = {
  -- The first owner's part in ARGV, see lib/proposal.
  first_place = 8,
  -- A Lua function has at most 200 local variables, 60 of functions around it, and 250 registers.
  most_groups = 12,
  most_owners = 6,
}

local shapes, count = {}, 0

-- The shape of a program's owners: the numbers of the marks above, and a place for the code of each text. Nil if there are
-- too many.
function unroll.shape(owners)
  local name = {}
  for at = 1, #owners do
    name[at] = (owners[at].is_user and 'u' or 'o') .. #owners[at].groups
  end
  name = table.concat(name, ' ')
  if shapes[name] then
    return shapes[name]
  end
  local shape = { owners = {}, holders = {}, e = unroll.first_place }
  local groups = 0
  for at = 1, #owners do
    local marks = { o = at, r = shape.e, groups = {} }
    shape.e = shape.e + (owners[at].is_user and 0 or 1)
    for index = 1, #owners[at].groups do
      groups = groups + 1
      marks.groups[index] = { g = groups, i = index, a = shape.e }
      shape.e = shape.e + 1
    end
    shape.owners[at] = marks
    if #marks.groups > 0 then
      shape.h = shape.h or at
      shape.holders[#shape.holders + 1] = marks
    end
  end
  if groups == 0 or groups > unroll.most_groups or #owners > unroll.most_owners then
    return nil
  end
  count = count + 1
  if count > 100 then
    shapes, count = {}, 1
  end
  shapes[name] = shape
  return shape
end

-- Repeats `word[ … ]` of the text for each of these marks.
local function repeated(text, word, list)
  return (string.gsub(text, word .. '(%b[])', function(body)
    local parts = {}
    for at = 1, #list do
      local marks, part = list[at], string.sub(body, 2, -2)
      if marks.groups then
        part = repeated(part, 'each_group', marks.groups)
      end
      part = string.gsub(part, '%$first%((.-), (.-)%)', at == 1 and '%1' or '%2')
      parts[at] = string.gsub(part, '%$(%a)', marks)
    end
    return table.concat(parts)
  end))
end

-- The code for a shape, which is made once. `...`: what it uses. Returns what the text returns.
function unroll.code(name, text, shape, ...)
  if not shape[name] then
    text = repeated(text, 'each_owner', shape.owners)
    text = repeated(text, 'each_holder', shape.holders)
    shape[name] = loadstring(string.gsub(text, '%$(%a)', shape), '=' .. name)(...)
  end
  return shape[name]
end
