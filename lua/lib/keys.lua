-- Builds the names of keys that a call does not pass in KEYS: they have the same hash tag and therefore the same slot.
-- This is the only place that builds key names.
local keys = {}

-- qg:{acme:live}: for any key.
function keys.tag(key)
  return string.sub(key, 1, string.find(key, '}:', 1, true) + 1)
end

-- The name of an owner in the ledger, from the key of its account: 'user:u_42'.
function keys.owner_word(account_key)
  local _, last = string.find(account_key, '}:account:', 1, true)
  return string.sub(account_key, last + 1)
end

function keys.account(tag, word)
  return tag .. 'account:' .. word
end

function keys.holds(tag, word)
  return tag .. 'holds:' .. word
end

function keys.past(tag, word)
  return tag .. 'past:' .. word
end

function keys.credits(tag, word)
  return tag .. 'credits:' .. word
end

-- The index of an owner's scope, and its name there.
function keys.index(tag, word)
  local names, name = string.match(word, '^([^:]+):(.*)$')
  return tag .. 'owners:' .. names, name
end

-- A key of the bucket: 'clock', 'outbox', 'ledger', 'denials', 'approvals', 'approvals:open', 'users', 'leaving'.
function keys.of(tag, name)
  return tag .. name
end
