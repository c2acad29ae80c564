-- Rollover: what a window leaves of its quota becomes extra quota of the next window, at most the group's `rollover`. It is
-- part of that window's text (lib/window), so no call reads it separately.
-- Use counts against rolled quota first, then against the quota, then against grants. So rolled quota is never rolled again,
-- and grants are not rolled at all. The first call that writes in the new window decides; what is still held then counts as
-- used, whatever becomes of it later. What was rolled over stays until its window ends, even if the group has no rollover any
-- more.
local rollover = {
  -- Expired holds that are subtracted in one step.
  most_due = 4096,
}

-- The held amount of a group's stored window. Expired holds that are still stored do not count.
function rollover.live(owner, group, held, now)
  if held == 0 or owner.next_expiry == 0 or owner.next_expiry > now then
    return held
  end
  if not owner.due then
    -- More than that would take Redis long; the call is repeated until they are removed.
    owner.unsettled = redis.call('ZCOUNT', owner.holds, '-inf', now) > rollover.most_due
    owner.due = owner.unsettled and {} or hold.due(owner.holds, now, rollover.most_due)
  end
  local expired = owner.due[group.id]
  return math.max(0, held - (expired and expired[group.stored_seq] or 0))
end

-- Whether a whole window without any call lies between a group's stored window and the new one. Windows of one period
-- differ in length (28 and 31 days, 23 and 25 hours); a moved anchor leaves a shorter gap. The same rule is in
-- src/domain/metering/rollover.rs.
local function was_idle(group)
  local start = clock.parse(window.start(group.window))
  local gap = start - clock.parse(window.finish(group.stored))
  return gap > 0 and gap * 8 >= (clock.parse(window.finish(group.window)) - start) * 7
end

-- Ends a group's window, in which `used`, `held` and `blocked` count, and determines what it leaves. If there was no call in
-- the window before this one, that window was not used at all.
function rollover.turn(group, used, held, blocked)
  local quota, rolled = string.match(group.stored, '^(%d+)%+?(%d*)')
  if not quota or window.is_concurrent(group.stored_seq) then
    return
  end
  quota, rolled = quota + 0, rolled ~= '' and rolled + 0 or 0
  local seq = group.stored_seq
  if was_idle(group) then
    seq, used, held, blocked, rolled = '-', 0, 0, 0, 0
  end
  local left = math.min(group.rollover, math.max(0, quota - math.max(0, used + held + blocked - rolled)))
  group.window = window.with_rolled(group.window, left > 0 and '+' .. args.digits(left) or '')
  group.rolled = window.rolled(group.window)
  -- For the ledger: '<rolled>/<closed window>/<used>/<held>/<blocked>/<rolled into it>/<quota>/<max>'.
  local figures = { left, used, held, blocked, rolled, quota, group.rollover }
  for place = 1, #figures do
    figures[place] = args.digits(figures[place])
  end
  table.insert(figures, 2, seq)
  group.roll = left > 0 and table.concat(figures, '/')
end

-- Sets `rolled` of groups whose stored windows are not the proposed ones, and completes the texts of these. Otherwise nothing
-- was rolled over. After lib/allowance.
function rollover.read(owner, now)
  owner.due, owner.unsettled = false, false
  for place = 1, #owner.groups do
    local group = owner.groups[place]
    if group.change ~= 'turned' and group.stored then
      group.window = window.with_rolled(group.window, window.rolled_part(group.stored))
      group.rolled = window.rolled(group.window)
    elseif group.rollover and group.change == 'turned' then
      group.rolled, group.roll, group.window = 0, false, window.with_rolled(group.window, '')
      local held = rollover.live(owner, group, group.closed_held, now)
      rollover.turn(group, group.closed_used + 0, held, owner.adjusted and group.closed_blocked or 0)
    end
  end
end

-- Whether an owner has more expired holds in a window that ends than can be subtracted in one step.
function rollover.is_unsettled(owners)
  for at = 1, #owners do
    if owners[at].unsettled then
      return true
    end
  end
  return false
end

-- What the ledger says of a group's new window: its limit, and what that is computed from.
function rollover.charge(group, seq)
  local quota = string.match(group.window, '^%d+')
  local limit = quota and args.digits(math.min(quota + group.rolled, args.most)) or '-'
  return ledger.charge(group.id, seq, '0', '0', limit) .. ':rolled/' .. group.roll
end

-- Writes an entry of the ledger about the groups into whose new windows something was rolled over.
function rollover.record(owner, charges, now)
  if #charges > 0 then
    local word = keys.owner_word(owner.key)
    local about = '- - ' .. (string.match(word, '^user:(.*)$') or '-')
    ledger.write('rollover ' .. args.digits(now) .. ' 0 - - ' .. about, word .. ' ' .. table.concat(charges, ','), '', '')
  end
end
