--[[
list_credits: reads an owner's credits of one balance, the newest first, without writing.

KEYS
  1  account of the owner
  2  credits of the owner
  3  holds of the owner
  4  test clock (read only in a sandbox)

ARGV
  sandbox
  balance
  number of the first credit ('' the newest)
  maximum number of credits

Replies
  listed, now, number of the next credit (0: that was the oldest), count, then per credit: details, credit    as in
    lib/credits
]]

local now = clock.now_ms(KEYS[4], args.int())
local id, from, most = args.texts(3)
local owner = { key = KEYS[1], word = keys.owner_word(KEYS[1]), balances = false, touched = true, now = now }
local balance = credits.load(owner, id, now)
-- With more expired holds than that, `held` is as of the last call.
local due, _, _, more = hold.due(KEYS[3], now, hold.batch)
if not more then
  credits.return_expired(owner, balance, due[id] or {})
end
local listed, fields = {}, {}
for _, list in ipairs({ credits.all(balance), balance.old }) do
  for _, credit in ipairs(list) do
    listed[credit.name] = credits.text(credit)
  end
end
local first = from == '' and sub(balance.seq, 2) or from
local last = math.max(1, first - most + 1)
for number = args.stored(first), last, -1 do
  local field = id .. '.b' .. args.digits(number)
  fields[#fields + 1], fields[#fields + 2] = field, field .. '.ended'
end
local values = #fields > 0 and redis.call('HMGET', KEYS[2], unpack(fields)) or {}
local answer = { 'listed', now, last - 1, 0 }
for place = 1, #values, 2 do
  local text = listed[sub(fields[place], #id + 2)] or values[place + 1]
  if values[place] and text then
    answer[#answer + 1], answer[#answer + 2] = values[place], text
    answer[4] = answer[4] + 1
  end
end
return answer
