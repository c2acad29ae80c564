-- The proposal of a node: owners and groups of a program with their windows and amounts, and the facts that they are
-- based on. reserve, extend, track, usage and grant pass it in the same way:
--
-- KEYS: from `first_key` on per owner its account. The first owner of a program with a user is the user.
-- ARGV
--   1  program: see lib/program
--   2  fingerprint ('-' without an idempotency key)
--   3  version of what is true of the first owner's user ('0': nothing was ever written; '-': it is no user)
--   4  frame: the windows and how long they hold, see lib/program
--   …  arguments of the call itself
--   then per owner, unless it is a user: '<renew> <most>': 'never' or when it expires (ms), see lib/retention; how many
--   names its index may have. Per group its amount
--   then nothing, or:
--     the node's own refusal under these facts ('' none)
--     forget_at ('-' | 'never' | ms) of a user who is to be forgotten, and the user
--     id of an approval request ('-' none), what the node reports of the call
--     nothing, or the reason for which groups that only observe would have denied the call under these facts ('' none)
--     nothing, or how far the amounts may grow, see lib/fit
local proposal = {}

-- The proposal of the present call, or nil if its program is unknown. `own`: the number of arguments of the call
-- itself.
function proposal.read(first_key, own)
  local defined = program.known[ARGV[1]]
  if not defined then
    return nil
  end
  local at, frame, window_at = 5 + own, program.frame(ARGV[4]), 0
  local read = {
    program = defined, tag = defined.tag, stamp_key = defined.stamp, fingerprint = ARGV[2], sandbox = defined.sandbox,
    version = ARGV[3], valid_from = frame.from, valid_until = frame.upto, owners = {},
    precheck_denial = '', observed = '', forget_at = '-', user = false, approval_request = false, outbox = false, expiry_outbox = false,
    fit = false,
  }
  read.outbox = keys.of(read.tag, 'outbox')
  read.expiry_outbox = defined.reports_expiry and read.outbox
  for place = 1, #defined.owners do
    local known, key = defined.owners[place], KEYS[first_key]
    local word = keys.owner_word(key)
    local owner = { key = key, holds = keys.holds(read.tag, word), past = keys.past(read.tag, word), word = word,
      groups = known.groups, fields = known.general_fields, kept_balances = known.kept_balances, balances = false, touched = false,
      now = 0, has_alerts = known.has_alerts, unsettled = false, renew = '-', stored = false,
      version = false, next_expiry = 0, longest_ttl = 0, forget_at = false, adjusted = false, watched = false,
      scope_full = false, over_limit = false, observed = false }
    first_key = first_key + 1
    if not known.is_user then
      owner.renew, owner.most = string.match(ARGV[at], '^(%S+) (%d+)$')
      owner.most, owner.mortal, at = args.stored(owner.most), owner.renew ~= 'never', at + 1
      owner.index, owner.name = keys.index(read.tag, word)
    end
    for index = 1, #known.groups do
      local group, amount = known.groups[index], ARGV[at]
      at, window_at = at + 1, window_at + 1
      group.window, group.amount_text, group.amount = frame[window_at], amount, args.stored(amount)
      group.granted, group.blocked, group.grants, group.over_limit, group.observed = 0, 0, false, false, false
      group.rolled, group.roll, group.over = 0, false, 0
    end
    read.owners[place] = owner
  end
  if ARGV[at] then
    read.precheck_denial, read.forget_at, read.user = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    if ARGV[at + 3] ~= '-' then
      read.approval_request = { id = ARGV[at + 3], about = ARGV[at + 4] }
    end
    read.observed, read.fit = ARGV[at + 5] or '', ARGV[at + 6] or false
  end
  ledger.open(defined.ledger, defined.ledger_most)
  return read
end
