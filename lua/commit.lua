--[[
commit: what a reservation holds, or the actual figures, becomes used, in the windows in which it was held.
A draw (final 0) charges part of it and keeps the rest.

KEYS
  see lib/settle

ARGV
  1 to 4: see lib/settle; then nothing, or:
  final (0|1), reject_late (0|1), outcome ('-' | accepted | rejected)
  changes: the reservation's changes that the figures were computed on ('-' without figures)
  memo: the new memo ('' keeps the old one)
  figures: per owner '<owner> <group>:<total charged once this call is done>,…', with the owners and groups as held; a group
    that overflows as '<group>><balance>'

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  missing, now                              no such reservation (any more)
  expired, now                              past its grace; also, if it is still held, late and reject_late
  not_pending, now, status                  it was released, or a draw on a committed one
  settled, now, status, late, replayed, about, memo, version of the first owner, crossed, entries, overflow
    about: '<event> <key> <user>'; crossed: alerts, '<group>:<percent>,…'
    entries: per owner '<owner>[ <group> <used>+<held>[+<granted>+<blocked>[+<rolled>] ][=<own quota|->]/<window>#<sequence
    number>]…', separated by ' ; '; the state of a balance as in lib/balances
    overflow: what balances took over, '<limit group>><balance>:<amount>,…'
  stale_reservation, now                    figures were computed on an older state
  overflow, now                             a counter would pass 2^53 - 1
]]

-- A draw, or figures that were computed on another state, may never be settled straight.
local answer = (not ARGV[5] or (ARGV[5] == '1' and (ARGV[8] == '-' or ARGV[8] == '0'))) and straight_settle.settle(true)
if answer then
  return answer
end

local call, seen = settle.call()
if seen then
  return seen
end
local final, reject_late, outcome, changes, memo, totals, figures = true, false, '-', '-', '', nil, nil
if ARGV[5] then
  final, reject_late, outcome, changes, memo = ARGV[5] == '1', ARGV[6] == '1', ARGV[7], ARGV[8], ARGV[9]
  for place = 10, #ARGV do
    figures = figures or { totals = {}, onto = {} }
    totals = figures.totals
    local owner, list = string.match(ARGV[place], '^(%S+) (.*)$')
    for word, total in string.gmatch(list, '([^:,]+):(%d+)') do
      local group, onto = credits.parts(word)
      totals[owner .. ' ' .. group] = args.stored(total)
      if onto ~= group then
        figures.onto[owner] = figures.onto[owner] or {}
        figures.onto[owner][group] = onto
      end
    end
  end
end

local loaded, now = settle.load(call)
if not loaded then
  return now
end
if loaded.status == 'committed' and final then
  return settle.replay(loaded, now, call.expiry_outbox)
end
if loaded.status ~= 'held' then
  return { 'not_pending', now, loaded.status }
end
local late = now >= loaded.expires_at
if late and reject_late then
  return { 'expired', now }
end
if changes ~= '-' and changes ~= args.digits(loaded.changes) then
  return { 'stale_reservation', now }
end

-- How much of the group's new charge falls on this entry: oldest window first, the last one takes what is over.
local function share(owner, place)
  local entry = owner.entries[place]
  if window.is_concurrent(entry.seq) then
    return 0
  end
  local total = totals and totals[owner.word .. ' ' .. entry.id]
  if not total then
    return entry.holds
  end
  owner.open = owner.open or {}
  local open = owner.open[entry.id] or math.max(0, total - settle.charged(owner, entry.id))
  local amount = math.min(open, entry.holds)
  local last = true
  for later = place + 1, #owner.entries do
    last = last and owner.entries[later].id ~= entry.id
  end
  if last then
    amount = open
  end
  owner.open[entry.id] = open - amount
  return amount
end

for at = 1, #loaded.owners do
  local owner = loaded.owners[at]
  settle.open(owner, now, call.expiry_outbox)
  local shares = {}
  local is_divided = overflow.concerns(owner, figures)
  if is_divided and not overflow.commit(owner, figures, final) then
    return { 'overflow', now }
  end
  for place = 1, is_divided and 0 or #owner.entries do
    shares[place] = share(owner, place)
  end
  for place = 1, #shares do
    local entry = owner.entries[place]
    local freed = final and entry.holds or math.min(shares[place], entry.holds)
    settle.free(owner, entry, freed)
    if not settle.charge(entry, shares[place]) then
      return { 'overflow', now }
    end
    entry.holds = entry.holds - freed
  end
end

loaded.changes = loaded.changes + 1
loaded.status = final and 'committed' or 'held'
loaded.late = late or loaded.late
loaded.outcome = outcome
loaded.memo = memo ~= '' and memo or loaded.memo
local members = {}
for place = 1, #loaded.owners do
  local owner = loaded.owners[place]
  settle.write(owner, now, call)
  members[place] = owner.member
  if final then
    settle.let_go(owner)
  end
end
ledger.append(final and 'commit' or 'draw', now, late, loaded, call.details)
answer = settle.keep(call, loaded, now, settle.answer(loaded, now, 0, call.crossed))
for place = 1, #loaded.owners do
  local owner = loaded.owners[place]
  if owner.live then
    if not final then
      redis.call('ZADD', owner.holds, args.digits(loaded.expires_at), record.member(loaded, owner))
    end
    if final or record.member(loaded, owner) ~= members[place] then
      redis.call('ZREM', owner.holds, members[place])
    end
  end
end
return answer
