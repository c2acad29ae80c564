-- Names of keys that a call does not bring: they share the slot of those that it brings, since all begin alike. This is
-- the only place that puts names of keys together.
local keys = {}

-- qg:{acme:live}: of any key.
function keys.tag(key)
  return string.sub(key, 1, string.find(key, '}:', 1, true) + 1)
end

-- The word of an owner from the key of its account: 'user:u_42'.
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

-- The index of an owner's scope, and its name there.
function keys.index(tag, word)
  local names, name = string.match(word, '^([^:]+):(.*)$')
  return tag .. 'owners:' .. names, name
end

-- One of the bucket's own: 'clock', 'outbox', 'ledger', 'denials', 'approvals', 'approvals:open', 'users', 'leaving'.
function keys.of(tag, name)
  return tag .. name
end
