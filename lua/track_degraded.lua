--[[
track_degraded: counts a reserve that a node allowed while this Redis was unavailable, exactly once. It uses the operation
name of that reserve, and its answer is stored for as long as a journal may wait, so that journals of other nodes, a
journal that is read again, and the client's own repetition find it. The ledger records that it was degraded.

KEYS
  1   record of this operation
  2…  per owner: account

ARGV
  see lib/proposal and lib/tracking

Replies, in order of precedence
  unknown                                   the program has to be defined
  replayed, record | reused                 see lib/operation; the record may be the reservation, if the reserve did reach Redis
  stale_configuration | stale_stamp | stale_user | stale_time | again | denied    as in reserve
  tracked, now, reclaimed, crossed, full_scopes, counters; then match_facts; with an idempotency key also the groups as proposed
  crossed: alerts, '<group>:<percent>,…'; full_scopes: how many owners were left out because
    their scope has its maximum number of names; counters: with '!' a balance that did not cover the whole call
]]

return tracking.count(false, '{"degraded":true}', 35 * 24 * 3600 * 1000)
