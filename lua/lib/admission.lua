-- Decides over all owners of a call at once, and places the holds. `p`: see lib/proposal.
local admission = {}

-- Whether a scope with free values has its maximum number of names.
local function is_scope_full(owner)
  if owner.renew == '-' or owner.renew == 'never' or owner.forget_at then
    return false
  end
  retention.sweep_index(owner.index)
  return redis.call('ZCARD', owner.index) >= owner.most
end

-- Opens the approval requests of a call that only needs approval. Returns '<group>:<id>:<status>,…', or ''.
local function request_approval(p, now)
  local opened = {}
  for place = 1, #p.owners do
    local owner = p.owners[place]
    local is_marked = false
    for at = 1, #owner.groups do
      local group = owner.groups[at]
      if group.over_limit then
        local request, marked = approval.open(owner, group, p, now)
        opened[#opened + 1] = request
        is_marked = is_marked or marked
      end
    end
    if is_marked then
      retention.keep(owner, p, now)
    end
  end
  return table.concat(opened, ',')
end

-- The state of a counter over its limit, for the stream of denials, see lib/ledger. `limit_text` is `limit` as text.
local function exceeded(group, limit, limit_text)
  if group.is_balance then
    local taken = group.balance.used + group.balance.held
    return group.id .. ':' .. group.amount_text .. ':' .. args.digits(taken) .. ':' .. args.digits(taken + group.balance.left)
  end
  local counted = group.concurrent and group.held or group.used + group.held
  if group.granted > 0 or group.blocked > 0 or group.rolled > 0 then
    limit = math.max(0, math.min(limit + group.granted + group.rolled - group.blocked, counter.most))
    limit_text = args.digits(limit)
  end
  local text = group.id .. ':' .. group.amount_text .. ':' .. args.digits(counted) .. ':' .. limit_text
  if group.concurrent or not ledger.is_near(group.used, limit) then
    return text
  end
  return text .. ':' .. args.digits(group.used) .. ':' .. window.bounds(group.window)
end

-- Whether the group's limit denies this call, or would deny it if the group did not only observe.
local function compare(owner, group, skip_full_scopes)
  local is_full = owner.scope_full and not skip_full_scopes
  local observes = not skip_full_scopes and group.observes
  group.over_limit = (is_full and not observes) or counter.is_over_limit(group)
  group.observed = observes and (is_full or counter.exceeds(group, observes))
end

-- Each owner's `observed` lists the state of its counters that only observe, and would have denied the call.
local function list_observed(p)
  for at = 1, #p.owners do
    local owner = p.owners[at]
    for place = 1, #owner.groups do
      local group = owner.groups[place]
      if group.observed then
        owner.observed = owner.observed or {}
        owner.observed[#owner.observed + 1] = exceeded(group, group.observes, args.digits(group.observes))
      end
    end
  end
end

-- The reply to a denied call: see reserve. Each owner's `over_limit` lists the state of its counters over their limits.
local function denial(p, now, reclaimed, opened)
  local is_full = false
  for at = 1, #p.owners do
    local owner = p.owners[at]
    owner.over_limit = false
    for place = 1, #owner.groups do
      local group = owner.groups[place]
      if group.over_limit then
        owner.over_limit = owner.over_limit or {}
        owner.over_limit[#owner.over_limit + 1] = exceeded(group, group.limit, group.limit_text)
        is_full = is_full or group.concurrent
        if p.precheck_denial == '' and not owner.scope_full then
          alert.denied(owner, group, now, p.outbox)
        end
      end
    end
  end
  local free_at = is_full and hold.free_at(p.owners, now) or 0
  return { 'denied', now, reclaimed, p.precheck_denial, free_at, opened, counter.states(p.owners, true) }
end

-- Checks the facts, removes expired holds, and checks every group's limit. `refused`: the entry for the stream of
-- denials, see lib/ledger; `skip_full_scopes`: an owner whose scope is full is left out instead of denying the call, and
-- nothing is observed.
-- Returns a reply that ends the call, or nil, the time, how many holds were reclaimed, and whether more have expired.
function admission.decide(p, refused, skip_full_scopes)
  local stale, now = facts.check(p)
  if stale then
    return stale
  end
  local reclaimed, more = facts.reclaim(p, now)
  if more and rollover.is_unsettled(p.owners) then
    return { 'again', now, reclaimed }
  end
  local denied = p.precheck_denial ~= ''
  local hard, observed = denied, p.observed ~= ''
  for at = 1, #p.owners do
    local owner = p.owners[at]
    owner.scope_full = is_scope_full(owner)
    if owner.balances then
      credits.plan(owner)
    end
    for place = 1, #owner.groups do
      local group = owner.groups[place]
      compare(owner, group, skip_full_scopes)
      denied, observed = denied or group.over_limit, observed or group.observed
      hard = hard or (group.over_limit and (owner.scope_full or not group.approval))
    end
  end
  -- Expired holds still occupy the quota, so the call would take credits that it does not need.
  if more and p.precheck_denial == '' and credits.overflow(p.owners) then
    return { 'again', now, reclaimed }
  end
  if not denied and not observed then
    return nil, now, reclaimed, more
  end
  if more and p.precheck_denial == '' then
    return { 'again', now, reclaimed }
  end
  list_observed(p)
  if not denied then
    ledger.observe(refused, now, p.observed ~= '' and p.observed or 'limit_reached', p.owners)
    return nil, now, reclaimed, more
  end
  local opened = ''
  if not hard and p.approval_request then
    opened = request_approval(p, now)
  end
  local answer = denial(p, now, reclaimed, opened)
  if refused then
    local reason = p.precheck_denial ~= '' and p.precheck_denial or hard and 'limit_reached' or 'approval_required'
    ledger.deny(refused, now, reason, p.owners)
  end
  return answer
end

-- The entries of the present hold, followed by leftovers of a longer one.
local entries = {}

-- Adds the groups' amounts to `held` and one member to the holds. `reservation`: its name; now; expires_at_ms, and as text
-- expires_at; ending: what follows the entries in a hold.
-- Returns the owner's line of a reservation's record, which has charged nothing yet.
function admission.place(owner, reservation)
  local groups, count = owner.groups, 0
  for place = 1, #groups do
    local group = groups[place]
    local own = group.amount - group.over
    if not group.is_balance then
      count = count + 1
      group.held = group.held + own
      entries[count] = group.id .. ':' .. group.seq .. ':' .. (group.over == 0 and group.amount_text or args.digits(own))
    end
    if group.is_balance or group.over > 0 then
      for _, part in ipairs(credits.hold(group)) do
        count = count + 1
        entries[count] = part.id .. ':' .. part.name .. ':' .. args.digits(part.amount)
      end
    end
  end
  local list = table.concat(entries, ',', 1, count)
  if owner.next_expiry == 0 or reservation.expires_at_ms < owner.next_expiry then
    owner.next_expiry = reservation.expires_at_ms
  end
  owner.longest_ttl = math.max(owner.longest_ttl, reservation.expires_at_ms - reservation.now)
  counter.write(owner, reservation.now, alert.watch(owner, {}))
  redis.call('ZADD', owner.holds, reservation.expires_at, reservation.name .. ' ' .. list .. ' ' .. reservation.ending)
  return owner.word .. ' ' .. list
end
