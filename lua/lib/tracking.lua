-- track and track_enforce: counts what has happened, in one step and without a hold.
--- @include "lib/args"
--- @include "lib/pieces"
--- @include "lib/clock"
--- @include "lib/window"
--- @include "lib/outbox"
--- @include "lib/hold"
--- @include "lib/allowance"
--- @include "lib/alert"
--- @include "lib/approval"
--- @include "lib/counter"
--- @include "lib/facts"
--- @include "lib/operation"
--- @include "lib/retention"
--- @include "lib/admission"

local fingerprint = args.text()
local seen = operation.seen(KEYS[2], fingerprint)
if seen then
  return seen
end

local given = facts.read()
local verdict, refund = args.text(), args.int() == 1
local owners, tail = counter.owners(5)
if refund then
  for _, owner in ipairs(owners) do
    for _, group in ipairs(owner.groups) do
      group.amount = -group.amount
    end
  end
end
local asked, index = admission.read_asked(tail)
local refusal, now, reclaimed = admission.decide(given, verdict, owners, KEYS[4], asked, index, not enforce)
if refusal then
  return refusal[1] == 'denied' and operation.keep(KEYS[2], fingerprint, refusal, owners) or refusal
end

local passed, crowded = {}, 0
local function count(owner)
  local extra = alert.watch(owner, {})
  for _, group in ipairs(owner.groups) do
    group.before, group.bounds = group.used, group.window
    group.used = math.max(0, group.used + group.amount)
  end
  counter.write(owner, 'used', now, extra)
  local watched = {}
  for _, group in ipairs(owner.groups) do
    watched[#watched + 1] = group.percents and group or nil
  end
  local changes = {}
  alert.charge(owner, watched, now, KEYS[4], changes, passed)
  if #changes > 0 then
    pieces.set(owner.counters, changes)
  end
  retention.keep(owner, given, now, KEYS[index], KEYS[index + 1])
end
for _, owner in ipairs(owners) do
  if owner.crowded then
    crowded = crowded + 1
  else
    count(owner)
  end
end
local answer = counter.reply({ 'tracked', now, reclaimed, table.concat(passed, ','), crowded }, owners)
return operation.keep(KEYS[2], fingerprint, answer, owners)
