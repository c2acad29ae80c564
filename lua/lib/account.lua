-- An owner's account: one hash with what is true of the owner and its counters.
--   .account       'v<version> expiry=<ms>[ ttl=<ms>][ forget=<ms|never>][ flags=<letters>]'
--     version of what is true of a user (0: nothing was ever written); no hold expires before `expiry` (0: there is
--     none); no reservation of this owner lived longer than `ttl` (usual_ttl if it is left out), unless it was extended;
--     `forget`, see lib/retention;
--     flags: g grants or blocked amounts exist (lib/allowance), w alerts are watched (lib/alert), l own quotas exist
--     (lib/own_quota)
--   .plan          '<plan> <since>[ <cycle|-> <until|->]', with times as in lib/window; .limits (JSON), .block: of a user
--   .extended      until when an extended reservation may be charged (ms), without its grace
--   <group>        '<used>+<held>/<quota|->[+<rolled>] <kind>/<start>/<end>#<sequence number>', see lib/window
-- and rare fields of groups, see lib/allowance, lib/own_quota, lib/alert and lib/approval. A group's id never contains a dot.
local account = {
  -- For an owner without `.account`.
  nothing = 'v0 expiry=0 ttl=0',
  -- The life of most reservations: the default of the API.
  usual_ttl = '60000',
}

-- Reads `.account` into the owner.
function account.parse(owner, text)
  text = text or account.nothing
  local version, expiry, rest = string.match(text, '^v(%d+) expiry=(%d+)(.*)$')
  owner.stored, owner.version, owner.next_expiry = text, version, expiry + 0
  owner.longest_ttl = (string.match(rest, ' ttl=(%d+)') or account.usual_ttl) + 0
  owner.forget_at, owner.adjusted, owner.watched, owner.limited = false, false, false, false
  if rest ~= '' then
    owner.forget_at = string.match(rest, ' forget=(%S+)') or false
    local flags = string.match(rest, ' flags=(%a+)') or ''
    owner.adjusted = string.find(flags, 'g', 1, true) ~= nil
    owner.watched = string.find(flags, 'w', 1, true) ~= nil
    owner.limited = string.find(flags, 'l', 1, true) ~= nil
  end
end

local function text_of(owner)
  local ttl = args.digits(owner.longest_ttl)
  local text = 'v' .. owner.version .. ' expiry=' .. args.digits(owner.next_expiry) .. (ttl ~= account.usual_ttl and ' ttl=' .. ttl or '')
  if owner.forget_at then
    text = text .. ' forget=' .. owner.forget_at
  end
  if owner.adjusted or owner.watched or owner.limited then
    text = text .. ' flags=' .. (owner.adjusted and 'g' or '') .. (owner.watched and 'w' or '') .. (owner.limited and 'l' or '')
  end
  return text
end

-- Appends `.account` to the fields and values to set, if it has changed. Returns their number.
function account.append(owner, changes, count)
  local text = text_of(owner)
  if text ~= owner.stored then
    owner.stored = text
    changes[count + 1], changes[count + 2] = '.account', text
    return count + 2
  end
  return count
end

-- Writes `.account`, if it has changed.
function account.save(owner)
  local changes = {}
  if account.append(owner, changes, 0) > 0 then
    redis.call('HSET', owner.key, changes[1], changes[2])
  end
end

-- The parts of a counter: used and held as text, window, sequence number.
function account.counter(value)
  return string.match(value, '^(%d+)%+(%d+)/(%S+ %S+)#(%w+)$')
end

function account.counter_text(used, held, window, seq)
  return args.digits(used) .. '+' .. args.digits(held) .. '/' .. window .. '#' .. seq
end
