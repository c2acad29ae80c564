--[[
track: counts usage that has already happened, even above the quota (the given limits are what a counter can hold).

KEYS
  1   record of this operation
  2…  per owner: account

ARGV
  see lib/proposal and lib/tracking

Replies, in order of precedence
  unknown                                   the program has to be defined
  replayed, record | reused                 see lib/operation
  stale_configuration | stale_stamp | stale_user | stale_time | again | denied    as in reserve
  tracked, now, reclaimed, crossed, full_scopes, counters; then match_facts; with an idempotency key also the groups as proposed
  crossed: alerts, '<group>:<percent>,…'; full_scopes: how many owners were left out because
    their scope has its maximum number of names; counters: with '!' a balance that did not cover the whole call
]]

return tracking.count(false)
