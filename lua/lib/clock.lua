-- Time in milliseconds: Redis TIME, or in a sandbox the frozen test clock.
local clock = {
  grace_ms = 15 * 60 * 1000,
  -- In a sandbox the clock is moved manually, so expired data is stored for seven real days.
  sandbox_ttl_ms = 7 * 24 * 3600 * 1000,
}

-- The time as a number and as text.
function clock.now_ms(key, sandbox)
  local text = sandbox == 1 and redis_call('GET', key)
  if text then
    return text + 0, text
  end
  return present.time()
end

function clock.real_ms()
  return (clock.now_ms())
end

function clock.ttl(ms, sandbox)
  if sandbox == 1 and ms < clock.sandbox_ttl_ms then
    return clock.sandbox_ttl_ms
  end
  return ms
end

-- Converts a time of a window ('YYYYMMDD', 'YYYYMMDDTHHMM' or 'YYYYMMDDTHHMMSS') to milliseconds (days from civil,
-- proleptic Gregorian).
function clock.parse(text)
  local y, m, d, h, min, s = string.match(text, '^(%d%d%d%d)(%d%d)(%d%d)T?(%d?%d?)(%d?%d?)(%d?%d?)$')
  y, m, d = args.stored(y), args.stored(m), args.stored(d)
  if m <= 2 then
    y = y - 1
  end
  local era = math.floor(y / 400)
  local year_of_era = y - era * 400
  local day_of_year = math.floor((153 * ((m + 9) % 12) + 2) / 5) + d - 1
  local day_of_era = year_of_era * 365 + math.floor(year_of_era / 4) - math.floor(year_of_era / 100) + day_of_year
  local days = era * 146097 + day_of_era - 719468
  return (days * 86400 + (h == '' and 0 or h * 3600 + min * 60) + (s == '' and 0 or s + 0)) * 1000
end
