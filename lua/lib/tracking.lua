-- track and track_enforce: counts what has happened, in one step and without a hold.
--- @include "lib/args"
--- @include "lib/clock"
--- @include "lib/window"
--- @include "lib/hold"
--- @include "lib/allowance"
--- @include "lib/counter"
--- @include "lib/facts"
--- @include "lib/operation"
--- @include "lib/admission"
--- @include "lib/retention"

local fingerprint = args.text()
local seen = operation.seen(KEYS[2], fingerprint)
if seen then
  return seen
end

local given = facts.read()
local verdict, refund = args.text(), args.int() == 1
local owners = counter.owners(4)
local refusal, now, reclaimed = admission.decide(given, verdict, owners)
if refusal then
  return refusal[1] == 'denied' and operation.keep(KEYS[2], fingerprint, refusal, owners) or refusal
end
for _, owner in ipairs(owners) do
  for _, group in ipairs(owner.groups) do
    group.used = math.max(0, group.used + (refund and -group.amount or group.amount))
  end
  counter.write(owner, 'used', now)
end
retention.keep(owners[1], given, now, KEYS[#KEYS - 1], KEYS[#KEYS])
local answer = counter.reply({ 'tracked', now, reclaimed }, owners)
return operation.keep(KEYS[2], fingerprint, answer, owners)
