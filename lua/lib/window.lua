-- A counter's window: '<serial> <kind> <start> <end> <quota|->'. The serial identifies it; kind, start and end are
-- its attributes, and the quota that the last call in it went by, which tells an overage once the window is closed.
-- Times are 'YYYYMMDDTHHMMSSZ' (ISO 8601, basic format), so they compare as text, and a window stays within the 64 bytes
-- up to which Redis keeps a hash in one compact piece. A `concurrent` counter's serial starts with c: its amounts
-- are in flight only and are never charged. The serials of an owner that may be forgotten begin with the time (s), so
-- that no two lives of it share one; all others begin with 1.
local window = { most_known = 10000 }

-- 'c'; no other library is there while this one is loaded.
local concurrent_byte = 99

function window.is_concurrent(serial)
  return string.byte(serial) == concurrent_byte
end

-- Stored windows taken apart. Those of many users are the same texts, so they are kept while the library is loaded.
local serials, rests, count = {}, {}, 0

-- The serial of a stored window, and the window without it.
function window.split(stored)
  local serial = serials[stored]
  if serial then
    return serial, rests[stored]
  end
  if count >= window.most_known then
    serials, rests, count = {}, {}, 0
  end
  local space = string.find(stored, ' ', 1, true) or #stored + 1
  serials[stored], rests[stored] = string.sub(stored, 1, space - 1), string.sub(stored, space + 1)
  count = count + 1
  return serials[stored], rests[stored]
end

-- '<kind> <start> <end>' of a window without its serial.
function window.bounds(text)
  return string.match(text, '^%S+ %S+ %S+')
end

-- The end of a stored window.
function window.finish(stored)
  return string.match(stored, '^%S+ %S+ %S+ (%S+)')
end

-- Brings the stored window to the proposed one, '<kind> <start> <end> <quota|->'. Answers the serial and what has to
-- happen: 'same' (then also whether the quota is another), 'new' (nothing was stored), 'moved' (bounds change, amounts
-- stay), 'turned' (a later window begins), or 'later' with the stored start: the clock stands before a window that had
-- already begun. `first` is the serial of a counter's first window.
function window.resolve(stored, proposed, first)
  local serial, rest
  if stored then
    serial, rest = window.split(stored)
    if rest == proposed then
      return serial, 'same'
    end
  end
  local concurrent = string.sub(proposed, 1, 11) == 'concurrent '
  if not stored then
    return (concurrent and 'c' or '') .. first, 'new'
  end
  if window.bounds(rest) == window.bounds(proposed) then
    return serial, 'same', nil, true
  end
  if concurrent ~= window.is_concurrent(serial) then
    return window.after(serial, concurrent), 'turned'
  end
  local stored_start, stored_end = string.match(rest, '^%S+ (%S+) (%S+)')
  local start, finish = string.match(proposed, '^%S+ (%S+) (%S+)')
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
