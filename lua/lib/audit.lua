-- The audit log: one entry per change by an operator, written in the same step as the change. A stream with limited
-- length.
local audit = { most = 100000 }

-- ARGV: field count ('0': no entry), then a name and a value each.
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
