-- A counter's window as text: '<quota|->[+<rolled>][!<percent>…] <kind>/<start>/<end>', such as
-- '20 monthly/20261101/20261201'. The quota and the percentages of its alerts are those that the last call in this window
-- used; the quota determines the overage when the window is closed. A '!' without a percentage: the user's limits have
-- changed, and the alerts are still those from before. What was rolled over into the window, see
-- lib/rollover, is written only if there is something. Times are UTC in ISO 8601
-- basic format without what is zero at the end ('20261101', '20261101T1000', '20261101T100030'), so they compare as text.
-- A window's sequence number identifies it among the windows of its counter. A `concurrent` counter's number starts with
-- c: its amounts are in flight only and are never charged. The numbers of an owner that may expire begin with the time
-- (s), so that two lives of one name never share a number; all others begin with 1.
local window = {}

-- 'c'; no other library is loaded yet.
local concurrent_byte = 99

function window.is_concurrent(seq)
  return string.byte(seq) == concurrent_byte
end

-- '<kind>/<start>/<end>' of a window.
function window.bounds(text)
  return string.match(text, '^[^ ]* (.+)$')
end

-- The end of a window, or of its bounds.
function window.finish(text)
  return string.match(text, '^.*/(.+)$')
end

function window.start(text)
  return string.match(text, '^[^/]*/([^/]+)/')
end

-- '+<rolled>', or '' if nothing was rolled over into a window.
function window.rolled_part(text)
  return string.match(text, '^[%d-]+(%+%d+)') or ''
end

-- What was rolled over into a window, as far as it counts: a quota of 0 stops its owner, and no quota needs no more.
function window.rolled(text)
  local quota, rolled = string.match(text, '^(%d+)%+(%d+)')
  return quota and quota ~= '0' and rolled + 0 or 0
end

-- The window's text with `part`, as rolled_part returns it, instead of its present rolled quota.
function window.with_rolled(text, part)
  return (string.gsub(text, '^([%d-]+)%+?%d*', '%1' .. part))
end

function window.kind(text)
  return string.match(text, '(%a+)/')
end

local function times(text)
  return string.match(text, '^[^/]*/([^/]+)/(.+)$')
end

-- Brings a stored window to the proposed one. Returns the sequence number and what has to happen: 'same' (then also
-- whether the quota is another), 'new' (nothing was stored), 'moved' (bounds change, amounts stay), 'turned' (a later
-- window begins), or 'later' with the stored start: the clock is before a window that had already begun. `first` is the
-- number of a counter's first window.
function window.resolve(seq, stored, proposed, first)
  if stored == proposed then
    return seq, 'same'
  end
  local concurrent = window.kind(proposed) == 'concurrent'
  if not stored then
    return (concurrent and 'c' or '') .. first, 'new'
  end
  if window.bounds(stored) == window.bounds(proposed) then
    return seq, 'same', nil, true
  end
  if concurrent ~= window.is_concurrent(seq) then
    return window.after(seq, concurrent), 'turned'
  end
  local stored_start, stored_end = times(stored)
  local start, finish = times(proposed)
  if stored_end <= start then
    return window.after(seq, concurrent), 'turned'
  end
  if stored_start >= finish then
    return seq, 'later', stored_start
  end
  return seq, 'moved'
end

function window.after(seq, concurrent)
  local number = args.stored(string.match(seq, '%d+')) + 1
  return (concurrent and 'c' or '') .. args.digits(number)
end
