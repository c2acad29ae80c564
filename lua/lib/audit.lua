-- The audit log: one entry per change by hand, written in the step that makes the change. A stream, bounded by length.
local audit = { most = 100000 }

-- ARGV: field count ('0': nothing to tell), then name and value each.
function audit.read()
  local fields = {}
  for place = 1, 2 * args.int() do
    fields[place] = args.text()
  end
  return fields
end

function audit.write(key, fields)
  if #fields > 0 then
    redis.call('XADD', key, 'MAXLEN', '~', audit.most, '*', unpack(fields))
  end
end
