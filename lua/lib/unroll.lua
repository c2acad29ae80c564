-- Loop unrolling: the straight path is written as text, from which code is made once for each shape, that is how many owners
-- and groups a call has. Code without loops keeps what it reads in local variables, which takes an eighth of the instructions
-- less than loops over tables. In the text
--   each_owner[ … ]   is repeated for each owner
--   each_holder[ … ]  is repeated for each owner with groups
--   each_group[ … ]   stands in one of these, and is repeated for each group of the owner
--   $o, $g, $i        are the number of the owner, of the group among all groups, and of the group among those of its owner
--   $h                is the number of the first owner with groups
--   $r, $a, $e        are places in ARGV, see lib/proposal: of the renewal of an owner that is not a user, of the group's
--                     amount, and after the last amount
--   $first(a, b)      is a for the first owner with groups, and b for the others; it stands directly in each_holder
-- Brackets between those of a repeated part must be balanced, also in strings, since its end is found by counting them.
local unroll = {
  -- The first owner's part in ARGV.
  first_place = 8,
  -- With these, code stays within what Lua allows: 200 local variables, 60 variables of the functions around a function (of
  -- which a reserve of 6 owners uses 55), and 250 registers.
  most_groups = 12,
  most_owners = 6,
  -- Beyond it all shapes are forgotten.
  most_shapes = 100,
}

local shapes, count = {}, 0

-- Whether the straight path can have code for these owners.
function unroll.fits(owners)
  local groups = 0
  for at = 1, #owners do
    groups = groups + #owners[at].groups
  end
  return groups > 0 and groups <= unroll.most_groups and #owners <= unroll.most_owners
end

-- The shape of these owners: what stands for the marks above, and by name the code that was made (names have several
-- letters, marks have one).
local function shape_of(owners)
  local name = {}
  for at = 1, #owners do
    name[at] = (owners[at].is_user and 'u' or 'o') .. #owners[at].groups
  end
  name = table.concat(name, ' ')
  if shapes[name] then
    return shapes[name]
  end
  local shape, groups = { owners = {}, holders = {}, e = unroll.first_place }, 0
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
  count = count + 1
  if count > unroll.most_shapes then
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

-- The code for the shape of these owners, which is made once. `...`: what it uses. Returns what the text returns.
function unroll.code(name, text, owners, ...)
  local shape = shape_of(owners)
  if not shape[name] then
    text = repeated(text, 'each_owner', shape.owners)
    text = repeated(text, 'each_holder', shape.holders)
    shape[name] = loadstring(string.gsub(text, '%$(%a)', shape), '=' .. name)(...)
  end
  return shape[name]
end
