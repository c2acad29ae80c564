-- A counter's window: '<serial> <kind> <start> <end>'. The serial identifies it; kind, start and end are
-- its attributes. Times are RFC 3339 of one width, so they compare as text. A `concurrent` counter's
-- serial starts with c: its amounts are in flight only and are never charged.
local window = {}

local concurrent_byte = string.byte('c')

function window.is_concurrent(serial)
  return string.byte(serial) == concurrent_byte
end

-- Brings the stored window to the proposed bounds. Answers the serial and what has to happen:
-- 'same', 'new' (nothing was stored), 'moved' (bounds change, amounts stay), 'turned' (a later window
-- begins), or 'later' with the stored start: the clock stands before a window that had already begun.
function window.resolve(stored, proposed)
  local concurrent = string.sub(proposed, 1, 11) == 'concurrent '
  if not stored then
    return concurrent and 'c1' or '1', 'new'
  end
  local serial, bounds = string.match(stored, '^(%S+) (.*)$')
  if bounds == proposed then
    return serial, 'same'
  end
  if concurrent ~= window.is_concurrent(serial) then
    return window.after(serial, concurrent), 'turned'
  end
  local stored_start, stored_end = string.match(bounds, '(%S+) (%S+)$')
  local start, finish = string.match(proposed, '(%S+) (%S+)$')
  if stored_end <= start then
    return window.after(serial, concurrent), 'turned'
  end
  if stored_start >= finish then
    return serial, 'later', stored_start
  end
  return serial, 'moved'
end

function window.after(serial, concurrent)
  local number = args.stored(string.match(serial, '%d+')) + 1
  return (concurrent and 'c' or '') .. args.digits(number)
end
