-- Events for webhooks and alerts: a stream that nodes read in one consumer group and turn into webhook deliveries. Its
-- length is limited; entries stay in it as the history of alerts.
local outbox = { most = 100000 }

-- `fields` are names and values in turn.
function outbox.add(key, kind, now, fields)
  redis.call('XADD', key, 'MAXLEN', '~', outbox.most, '*', 'type', kind, 'at', args.digits(now), unpack(fields))
end
