-- Deciding over all owners at once, and placing the holds.
local admission = {}

-- What a denied call asks to be approved. ARGV: id of a request, what the node tells of the call; from KEYS[`place`] on:
-- approvals, those that are open. Id '-': nothing can be asked for, and there are no keys.
-- Answers the request and the place of the first key behind.
function admission.read_asked(place)
  local id, about = args.texts(2)
  if id == '-' then
    return nil, place
  end
  return { id = id, about = about, approvals = KEYS[place], open = KEYS[place + 1] }, place + 2
end

-- A scope that callers fill freely has no place for another name.
local function is_crowded(owner)
  if owner.renew == '-' or owner.renew == 'never' or owner.forget_at then
    return false
  end
  retention.sweep_index(owner.index)
  return redis.call('ZCARD', owner.index) >= owner.most
end

-- Opens the requests of a call that only wants approval. Answers '<group>:<id>:<status>,…', or ''.
local function ask(owners, given, asked, now, outbox_key, first_index_key)
  local opened = {}
  for place = 1, #owners do
    local owner = owners[place]
    local is_marked = false
    for at = 1, #owner.groups do
      local group = owner.groups[at]
      if group.lacks then
        local request, marked = approval.open(owner, group, asked, now, outbox_key)
        opened[#opened + 1] = request
        is_marked = is_marked or marked
      end
    end
    if is_marked then
      retention.keep(owner, given, now, KEYS[first_index_key], KEYS[first_index_key + 1])
    end
  end
  return table.concat(opened, ',')
end

-- What a counter without room had, for the stream of denials: '<group>:<requested>:<counted>:<limit>'.
local function lack(group)
  local counted = group.concurrent and group.held or group.used + group.held
  local limit = group.limit_text
  if group.granted > 0 or group.blocked > 0 then
    limit = args.digits(math.max(0, math.min(group.limit + group.granted - group.blocked, counter.most)))
  end
  return group.id .. ':' .. group.amount_text .. ':' .. args.digits(counted) .. ':' .. limit
end

-- The reply to a denied call: see reserve. Each owner's `lacking` lists what its counters without room had.
local function denial(now, reclaimed, verdict, opened, owners, outbox_key)
  local is_full, answer = false, { 'denied', now, reclaimed, verdict, 0, opened, counter.count(owners) }
  local count = #answer
  for at = 1, #owners do
    local owner = owners[at]
    owner.lacking = false
    for place = 1, #owner.groups do
      local group = owner.groups[place]
      counter.stand(answer, count, group)
      answer[count + 5] = group.lacks and 1 or 0
      count = count + 5
      if group.lacks then
        owner.lacking = owner.lacking or {}
        owner.lacking[#owner.lacking + 1] = lack(group)
        is_full = is_full or group.concurrent
        if verdict == '' and not owner.crowded then
          alert.denied(owner, group, now, outbox_key)
        end
      end
    end
  end
  answer[5] = is_full and hold.free_at(owners, now) or 0
  return answer
end

-- Checks the facts, takes expired holds, and looks for room in every group. `asked`: see above; `first_index_key`: the
-- place of the index of users in KEYS, for a user who may be forgotten; `refused`: what a denial leaves in the stream of
-- denials, see lib/ledger; `lenient`: an owner without a place in its scope is left out, instead of refusing.
-- Answers a reply that ends the call, or nil, the time and how many holds were reclaimed.
function admission.decide(given, verdict, owners, outbox_key, asked, first_index_key, refused, lenient)
  local stale, now = facts.check(given, KEYS[1], KEYS[3], owners)
  if stale then
    return stale
  end
  local reclaimed, more = facts.reclaim(owners, now, given.tells_expiry and outbox_key)
  local denied, hard = verdict ~= '', verdict ~= ''
  for at = 1, #owners do
    local owner = owners[at]
    owner.crowded = is_crowded(owner)
    for place = 1, #owner.groups do
      local group = owner.groups[place]
      group.lacks = (owner.crowded and not lenient) or counter.lacks(group)
      denied = denied or group.lacks
      hard = hard or (group.lacks and (owner.crowded or not group.approval))
    end
  end
  if not denied then
    return nil, now, reclaimed
  end
  if more and verdict == '' then
    return { 'again', now, reclaimed }
  end
  local opened = ''
  if not hard and asked then
    opened = ask(owners, given, asked, now, outbox_key, first_index_key)
  end
  local answer = denial(now, reclaimed, verdict, opened, owners, outbox_key)
  if refused then
    local reason = verdict ~= '' and verdict or hard and 'limit_reached' or 'approval_required'
    ledger.deny(refused, now, reason, owners)
  end
  return answer
end

-- Those of the present hold, and behind them what a longer one has left.
local entries = {}

-- Adds the groups' amounts to `held` and one member to the holds. `about`: what an expiry tells, or '-', and the time.
-- Answers the owner's line of a reservation's record: '<owner> <held entries> <charged entries>'.
function admission.place(owner, name, about, now, expires_at_ms, expires_at)
  local groups = owner.groups
  for place = 1, #groups do
    local group = groups[place]
    group.held = group.held + group.amount
    entries[place] = group.id .. ':' .. group.serial .. ':' .. group.amount_text
  end
  local list = table.concat(entries, ',', 1, #groups)
  local extra = {}
  if owner.next_expiry == 0 or expires_at_ms < owner.next_expiry then
    extra = { 'next_expiry', expires_at }
  end
  counter.write(owner, 'held', now, alert.watch(owner, extra))
  redis.call('ZADD', owner.holds, expires_at, name .. ' ' .. list .. ' ' .. about)
  return ledger.owner_word(owner.counters) .. ' ' .. list .. ' -'
end
