-- Approval requests: at most one open request per counter and window. The denied call opens it.
-- <group>.approval of the account = '<sequence number|-> <id> <open|rejected> <window>'. A window in which nothing was
-- counted yet is not stored, and has no sequence number ('-'). Its bounds identify it.
-- The bucket's approvals hash: <id> = one line each: '<status> <opened at ms>', '<account key> <group> <window>',
-- '<requested> <used> <held> <limit>', details of the call (JSON), and the decision (JSON) if there is one.
-- 'open:<user>' in the same hash = '<id>@<end of its window> …': the open requests that calls of that user opened.
local approval = {
  -- The number of decided requests that are stored; beyond it the oldest are dropped.
  most_decided = 10000,
  -- The maximum number of open requests of all users, and of one user's calls. Beyond it none is opened: an open
  -- request is never removed for another one, unless its window has ended.
  most_open = 10000,
  most_open_of_user = 100,
  -- How many open requests are checked for ended windows if there are too many.
  most_swept = 16,
}

local function finish(bounds)
  return window.finish(bounds)
end

-- A window without an end has the year 9999.
local function is_over(window_end, now)
  return clock.parse(window_end) <= now
end

local function user_field(about)
  return 'open:' .. cjson.decode(about).userId
end

-- Adds a request to the list of its user.
local function list(approvals, field, id, bounds)
  local listed = redis.call('HGET', approvals, field)
  local word = id .. '@' .. finish(bounds)
  redis.call('HSET', approvals, field, listed and listed .. ' ' .. word or word)
end

local function unlist(approvals, field, id)
  local kept = {}
  for word in string.gmatch(redis.call('HGET', approvals, field) or '', '%S+') do
    if string.sub(word, 1, #id + 1) ~= id .. '@' then
      kept[#kept + 1] = word
    end
  end
  if #kept > 0 then
    redis.call('HSET', approvals, field, table.concat(kept, ' '))
  else
    redis.call('HDEL', approvals, field)
  end
end

local function remove(approvals, open, id)
  local request = approval.read(approvals, id)
  redis.call('ZREM', open, id)
  redis.call('HDEL', approvals, id)
  if request then
    unlist(approvals, user_field(string.match(request.rest, '\n([^\n]*)')), id)
  end
end

-- Whether one more request of this user is allowed. Requests whose windows have ended are removed first.
local function has_room(approvals, open, field, now)
  local listed = redis.call('HGET', approvals, field) or ''
  local _, count = string.gsub(listed, '%S+', '')
  if count >= approval.most_open_of_user then
    for id, window_end in string.gmatch(listed, '(%S+)@(%S+)') do
      if is_over(window_end, now) then
        remove(approvals, open, id)
        count = count - 1
      end
    end
  end
  if count >= approval.most_open_of_user then
    return false
  end
  if redis.call('ZCARD', open) >= approval.most_open then
    for _, id in ipairs(redis.call('ZRANGE', open, 0, approval.most_swept - 1)) do
      local request = approval.read(approvals, id)
      if not request or is_over(finish(request.window), now) then
        remove(approvals, open, id)
      end
    end
  end
  return redis.call('ZCARD', open) < approval.most_open
end

-- Opens a request, or finds the existing one. Returns '<group>:<id>:<status>', or '<group>:-:not_opened' if there are
-- too many, and whether it wrote anything.
function approval.open(owner, group, p, now)
  local asked = p.approval_request
  local approvals, open = keys.of(p.tag, 'approvals'), keys.of(p.tag, 'approvals:open')
  local marker = redis.call('HGET', owner.key, group.id .. '.approval') or ''
  local seq, id, status, asked_in = string.match(marker, '^(%S+) (%S+) (%S+) (.*)$')
  local stored = group.change == 'same' or group.change == 'moved'
  local bounds = window.bounds(group.window)
  local same = asked_in == bounds
  if stored and seq ~= '-' then
    same = seq == group.seq
  end
  if not same then
    local field = user_field(asked.about)
    if not has_room(approvals, open, field, now) then
      return group.id .. ':-:not_opened', false
    end
    id, status = asked.id .. '_' .. group.id, 'open'
    -- One operation may request it twice, for two owners of one group.
    if redis.call('HEXISTS', approvals, id) == 1 then
      id = asked.id .. '_' .. args.digits(redis.call('HLEN', approvals)) .. '_' .. group.id
    end
    local limit = group.limit + group.granted + group.rolled
    seq = owner.mortal and group.change == 'new' and '-' or group.seq
    redis.call('HSET', owner.key, group.id .. '.approval', seq .. ' ' .. id .. ' open ' .. bounds)
    redis.call('HSET', approvals, id, table.concat({
      'open ' .. args.digits(now),
      owner.key .. ' ' .. group.id .. ' ' .. bounds,
      group.amount_text .. ' ' .. args.digits(group.used) .. ' ' .. args.digits(group.held) .. ' ' .. args.digits(limit),
      asked.about,
    }, '\n'))
    redis.call('ZADD', open, args.digits(now), id)
    list(approvals, field, id, bounds)
    outbox.add(p.outbox, 'approval.requested', now, {
      'owner', owner.key, 'group', group.id, 'window', bounds, 'approval', id, 'about', asked.about,
      'requested', group.amount_text, 'used', args.digits(group.used), 'held', args.digits(group.held),
      'quota', args.digits(group.quota), 'granted', args.digits(group.granted),
      group.rolled > 0 and 'rolled' or nil, group.rolled > 0 and args.digits(group.rolled) or nil,
    })
  end
  return group.id .. ':' .. id .. ':' .. status, true
end

-- '<status> <opened at>', '<account key> <group> <window>', the other lines.
function approval.read(approvals, id)
  local text = redis.call('HGET', approvals, id)
  if not text then
    return nil
  end
  local status, opened, key, group, window, rest = string.match(text, '^(%S+) (%d+)\n(%S+) (%S+) ([^\n]*)\n(.*)$')
  return { id = id, status = status, opened = opened, key = key, group = group, window = window, rest = rest }
end

-- Removes the mark of a request from its counter, if no later request has replaced it.
function approval.unmark(key, request)
  local field = request.group .. '.approval'
  local known = string.match(redis.call('HGET', key, field) or '', '^%S+ (%S+)')
  if known == request.id then
    redis.call('HDEL', key, field)
  end
end

-- Stores a decided request. `decision` has: request; status; how, a line of JSON; now; and the keys approvals, open and
-- decided.
function approval.decide(decision)
  local request, status, now = decision.request, decision.status, decision.now
  local approvals, open, decided = decision.approvals, decision.open, decision.decided
  local asked, about = string.match(request.rest, '^([^\n]*)\n([^\n]*)')
  redis.call('HSET', approvals, request.id, table.concat({
    status .. ' ' .. request.opened, request.key .. ' ' .. request.group .. ' ' .. request.window, asked, about, decision.how,
  }, '\n'))
  if status == 'open' then
    redis.call('ZREM', decided, request.id)
    redis.call('ZADD', open, args.digits(now), request.id)
    list(approvals, user_field(about), request.id, request.window)
  else
    redis.call('ZREM', open, request.id)
    unlist(approvals, user_field(about), request.id)
    redis.call('ZADD', decided, args.digits(now), request.id)
    while redis.call('ZCARD', decided) > approval.most_decided do
      redis.call('HDEL', approvals, redis.call('ZPOPMIN', decided)[1])
    end
  end
end
