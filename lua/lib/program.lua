-- Programs: what all calls under one plan version with one set of matched groups have in common. A node defines a program
-- once and then calls it by its name, a hash of its text. A Redis that does not know the name (it restarted, another
-- master was promoted, the library was flushed, too many programs were known) replies 'unknown', and the node defines it
-- again. This table is all that the library keeps between calls.
--
-- The text: '<tag> <sandbox (0|1)> <configuration revision> <whether expiries are reported (0|1)> <most entries of the
-- ledger> <straight path (0|1)>' (tag: how the bucket's keys begin, qg:{acme:live}:), then a line per owner: 'user' or 'other', then per group ' <id> <limit> <quota|-> <flags>
-- <percents|->;'. Flags: '-' and in flight only (c), a denied call asks for approval (a), a denial is reported (l), the
-- group only observes (o), the quota is the limit (h), at most so much is rolled over (r<amount>), the group is a balance
-- (b), which has its thresholds instead of percents. A group that overflows has the id '<id>><balance>:<thresholds|->'.
local program = {
  -- Groups of all programs together, some 45 MB, or twice as much if they have more shapes than lib/unroll keeps. Beyond
  -- it all programs are forgotten.
  most = 10000,
  -- By name.
  known = {},
  -- The windows of a call's groups, which many calls have in common too, by their text, see program.frame.
  frames = {},
}

local count = 0

-- Adds a balance, unless another group overflows onto it too.
local function keep_balance(owner, id, below)
  owner.kept_balances = owner.kept_balances or {}
  for _, kept in ipairs(owner.kept_balances) do
    if kept.id == id then
      return
    end
  end
  local kept = { id = id, list = id .. '.credits', below = below, thresholds = {}, at = 0 }
  for threshold in string.gmatch(below, '%d+') do
    kept.thresholds[#kept.thresholds + 1] = threshold + 0
  end
  owner.kept_balances[#owner.kept_balances + 1] = kept
end

-- The fields of the account, with those of the balances.
local function general_fields(owner)
  if not owner.kept_balances then
    return owner.fields
  end
  local fields = { unpack(owner.fields) }
  for _, kept in ipairs(owner.kept_balances) do
    kept.at = #fields + 1
    fields[kept.at], fields[kept.at + 1] = kept.id, kept.list
  end
  return fields
end

local function read_owner(kind, text)
  local owner = { is_user = kind == 'user', groups = {}, fields = { '.account' }, has_alerts = false, straight = true,
    general_denials = false,
    -- Of the straight path, by group; `extra`: further fields that a reserve writes, and their values.
    limits = {}, prefixes = {}, extra = {},
    -- Of the counters that were settled last: tails, what they say, and from where on three quarters of a limit are used.
    tails = {}, quotas = {}, settled_limits = {}, near_from = {}, windows = {}, seqs = {},
    -- Its line of a record, and its figures of a commit; false without groups.
    held_pattern = false, figures_pattern = false,
    -- For lib/credits: the balances, and the fields that the general path reads.
    kept_balances = false, general_fields = false,
    -- Of the last call that exceeded a limit or changed `.account`.
    used = {}, held = {}, sums = {}, word = false, version = false, expiry = false,
    -- What `.account` says after the expiry, see straight.read_account.
    account_end = false, longest = false, account_rest = false, forget = false, expires = false, is_watched = false, is_common = false,
    renewal = false, renewed_rest = false, is_renewed = false,
  }
  local figure_ids = {}
  for word, limit, quota, flags, percents in string.gmatch(text, ' (%S+) (%d+) (%S+) (%S+) ([^;]+);') do
    local id, onto, below = match(word, '^([^>]+)>([^:]+):(.+)$')
    id = id or word
    local is_balance = string.find(flags, 'b', 1, true) ~= nil
    if is_balance then
      onto, below = id, percents
    end
    local group = {
      id = id, is_balance = is_balance, onto = onto or false, balance = false, over = 0, limit_text = limit, limit = args.stored(limit), quota = quota ~= '-' and args.stored(quota),
      concurrent = string.find(flags, 'c', 1, true) ~= nil, is_hard = string.find(flags, 'h', 1, true) ~= nil,
      -- What is done at the quota, if there is one; an owner may have one of its own (lib/own_quota).
      asks = string.find(flags, 'a', 1, true) ~= nil, reports = string.find(flags, 'l', 1, true) ~= nil,
      alerts = percents ~= '-' and percents, watches = string.find(flags, 'o', 1, true) ~= nil,
      approval = false, reports_limit = false, percents = false, observes = false,
      rollover = string.match(flags, 'r(%d+)'), closed_blocked = 0, roll = false, rolled = 0,
      -- Of the present call.
      window = false, amount_text = false, amount = 0, stored = false, stored_seq = false, seq = false, change = false,
      later_start = false, requoted = false, used = 0, held = 0, granted = 0, blocked = 0, grants = false, over_limit = false, observed = false,
    }
    group.approval, group.reports_limit = group.asks and group.quota ~= false, group.reports and group.quota ~= false
    group.percents, group.observes = group.quota and group.alerts, group.watches and group.quota
    group.rollover = group.rollover and group.rollover + 0
    local place = #owner.groups + 1
    owner.groups[place], owner.fields[place + 1] = group, id
    figure_ids[place] = (onto and not is_balance) and id .. '>' .. onto or id
    if onto then
      keep_balance(owner, onto, below)
    end
    -- The general path decides calls beyond an observed quota or a quota with rolled amounts, and denials that are reported or
    -- may overflow.
    local most = (onto and group.quota) or group.observes or group.limit
    -- A quota of 0 that overflows is exceeded by every call, also by one with an amount of 0.
    owner.limits[place] = onto and most == 0 and -1 or most
    owner.prefixes[place] = (place > 1 and ',' or '') .. id .. ':'
    owner.tails[place] = false
    owner.general_denials = owner.general_denials or group.approval or group.reports_limit or group.observes ~= false or group.rollover
      or group.onto ~= false
    owner.has_alerts = owner.has_alerts or group.percents
    -- A limit of 0 and a group in flight are decided by other rules.
    if group.concurrent or is_balance or owner.limits[place] == 0 then
      owner.straight = false
    end
  end
  local ids = {}
  for place = 1, #owner.groups do
    ids[place] = string.gsub(owner.groups[place].id, '%W', '%%%0')
    figure_ids[place] = string.gsub(figure_ids[place], '%W', '%%%0')
  end
  owner.general_fields = general_fields(owner)
  if #ids > 0 then
    owner.held_pattern = '^\n(%S+) ()' .. table.concat(ids, ':(%w+):(%d+),') .. ':(%w+):(%d+)()'
    owner.figures_pattern = '^(%S+) ' .. table.concat(figure_ids, ':(%d+),') .. ':(%d+)$'
  end
  return owner
end

-- Keeps a program under its name.
function program.define(name, text)
  local settings, owners = string.match(text, '^([^\n]*)(.*)$')
  local tag, sandbox, revision, reports_expiry, ledger_most, straight = string.match(settings, '^(%S+) (%d) (%d+) (%d) (%d+) (%d)$')
  local defined = {
    tag = tag, sandbox = args.stored(sandbox), revision = revision, reports_expiry = reports_expiry == '1',
    ledger_most = ledger_most, straight = straight == '1', owners = {}, groups = 0,
    clock = keys.of(tag, 'clock'), denials = keys.of(tag, 'denials'), ledger = keys.of(tag, 'ledger'), accounts = keys.of(tag, 'account:'), holds = keys.of(tag, 'holds:'), general_denials = false,
    stamp = keys.of(tag, 'stamp'), is_of_user = false,
    -- The straight path's code for it, which is made with the first call.
    reserve = false, settle = false,
  }
  for kind, groups in string.gmatch(owners, '\n(%a+)([^\n]*)') do
    local owner = read_owner(kind, groups)
    -- Whether a user is the first owner with groups, so that labels of holds are short (lib/hold).
    if defined.groups == 0 then
      defined.is_of_user = owner.is_user
    end
    defined.owners[#defined.owners + 1] = owner
    defined.groups = defined.groups + #owner.groups
    defined.straight = defined.straight and owner.straight
    defined.general_denials = defined.general_denials or owner.general_denials
  end
  defined.straight = defined.straight and unroll.fits(defined.owners)
  count = count + defined.groups + 1
  if count > program.most then
    program.known, count = {}, defined.groups + 1
  end
  program.known[name] = defined
end

local frame_count = 0

-- A frame's text is '<valid_from_ms> <valid_until_ms>', then per group ';<window>'. A node sends all of it, and it is read
-- once. Returns { from, upto, bounds, and tails, seqs and ends (see lib/straight) by group, window of the first group, … }
function program.frame(text)
  local frame = program.frames[text]
  if frame then
    return frame
  end
  local from, upto = string.match(text, '^(%-?%d+) (%-?%d+)')
  frame = { from = from + 0, upto = upto + 0, bounds = {}, tails = {}, seqs = {}, ends = {} }
  for found in string.gmatch(text, ';([^;]+)') do
    frame[#frame + 1], frame.bounds[#frame + 1] = found, window.bounds(found)
    frame.tails[#frame], frame.seqs[#frame], frame.ends[#frame] = false, false, ' '
  end
  frame_count = frame_count + #frame + 1
  if frame_count > program.most then
    program.frames, frame_count = {}, #frame + 1
  end
  program.frames[text] = frame
  return frame
end
