-- Approval requests: one open request per counter and window, opened by the call that was denied for want of it.
-- <group>.approval of the counters hash = '<serial|-> <id> <open|rejected> <window>'. A window in which nothing was
-- counted yet is not stored and has no serial of its own, so there its bounds tell whether it is the same. ('-': nor will
-- it have the one proposed now, which is the time.)
-- The bucket's approvals hash: <id> = one line each: '<status> <opened at ms>', '<counters key> <group> <window>',
-- '<requested> <used> <held> <limit>', what the node tells of the call (JSON), and once decided how (JSON).
local approval = {
  -- Of each kind, open and decided; beyond it the oldest go.
  most = 10000,
}

local function trim(index, approvals)
  while redis.call('ZCARD', index) > approval.most do
    redis.call('HDEL', approvals, redis.call('ZPOPMIN', index)[1])
  end
end

-- Opens a request, or finds the one that there is. Answers '<group>:<id>:<status>'.
function approval.open(owner, group, asked, now, outbox_key)
  local field = group.id .. '.approval'
  local marker = redis.call('HGET', owner.counters, field) or ''
  local serial, id, status, asked_in = string.match(marker, '^(%S+) (%S+) (%S+) (.*)$')
  local stored = group.change == 'same' or group.change == 'moved'
  local bounds = window.bounds(group.window)
  local same = asked_in == bounds
  if stored and serial ~= '-' then
    same = serial == group.serial
  end
  if not same then
    id, status = asked.id .. '_' .. group.id, 'open'
    -- One node may ask twice in one operation, for two owners of one group.
    if redis.call('HEXISTS', asked.approvals, id) == 1 then
      id = asked.id .. '_' .. args.digits(redis.call('HLEN', asked.approvals)) .. '_' .. group.id
    end
    local limit = group.limit + group.granted
    serial = owner.mortal and group.change == 'new' and '-' or group.serial
    redis.call('HSET', owner.counters, field, serial .. ' ' .. id .. ' open ' .. bounds)
    redis.call('HSET', asked.approvals, id, table.concat({
      'open ' .. args.digits(now),
      owner.counters .. ' ' .. group.id .. ' ' .. bounds,
      group.amount_text .. ' ' .. args.digits(group.used) .. ' ' .. args.digits(group.held) .. ' ' .. args.digits(limit),
      asked.about,
    }, '\n'))
    redis.call('ZADD', asked.open, args.digits(now), id)
    trim(asked.open, asked.approvals)
    outbox.tell(outbox_key, 'approval.requested', now, {
      'owner', owner.counters, 'group', group.id, 'window', bounds, 'approval', id, 'about', asked.about,
      'requested', group.amount_text, 'used', args.digits(group.used), 'held', args.digits(group.held),
      'quota', args.digits(group.quota), 'granted', args.digits(group.granted),
    })
  end
  return group.id .. ':' .. id .. ':' .. status
end

-- '<status> <opened at>', '<counters> <group> <window>', the other lines.
function approval.read(approvals, id)
  local text = redis.call('HGET', approvals, id)
  if not text then
    return nil
  end
  local status, opened, counters, group, window, rest = string.match(text, '^(%S+) (%d+)\n(%S+) (%S+) ([^\n]*)\n(.*)$')
  return { id = id, status = status, opened = opened, counters = counters, group = group, window = window, rest = rest }
end

-- Keeps a decided request; `how` is a line of JSON.
function approval.decide(request, status, how, approvals, open, decided, now)
  local asked, about = string.match(request.rest, '^([^\n]*)\n([^\n]*)')
  redis.call('HSET', approvals, request.id, table.concat({
    status .. ' ' .. request.opened, request.counters .. ' ' .. request.group .. ' ' .. request.window, asked, about, how,
  }, '\n'))
  if status == 'open' then
    redis.call('ZREM', decided, request.id)
    redis.call('ZADD', open, args.digits(now), request.id)
  else
    redis.call('ZREM', open, request.id)
    redis.call('ZADD', decided, args.digits(now), request.id)
    trim(decided, approvals)
  end
end
