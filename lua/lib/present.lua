-- What holds for the present FCALL, which may be a bundle of calls (see library.lua): the time of Redis, which stands still
-- meanwhile, and a stamp, which no call in a bundle changes.
local present = { time_ms = false, time_text = false, stamp_key = false, revision = false }

function present.clear()
  present.time_text, present.stamp_key = false, false
end

-- TIME as a number and as text: the seconds and the first three digits of the microseconds.
function present.time()
  local text = present.time_text
  if not text then
    local time = redis_call('TIME')
    local micros = time[2]
    text = time[1] .. sub(#micros == 6 and micros or '00000' .. micros, -6, -4)
    present.time_text, present.time_ms = text, text + 0
  end
  return present.time_ms, text
end

-- The configuration revision of a bucket's stamp, or false.
function present.stamp(key)
  if present.stamp_key ~= key then
    present.stamp_key, present.revision = key, redis_call('GET', key)
  end
  return present.revision
end
