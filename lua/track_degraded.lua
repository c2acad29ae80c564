--[[
track_degraded: counts a reserve that a node allowed while this Redis was away, once: the operation is that reserve's own,
and its answer is kept for as long as the node's journal may wait, so that journals of other nodes, a journal that is
read again, and the client's own repetition find it. The ledger says that it was degraded.

KEYS
  1   record of this operation
  2…  per owner: account

ARGV
  see lib/proposal and lib/tracking

Replies, in order of precedence
  unknown                                   the program has to be defined
  replayed, record | reused                 see lib/operation; the record may be the reservation, if the reserve was done after all
  stale_configuration | stale_stamp | stale_user | stale_time | again | denied    as in reserve
  tracked, now, reclaimed, passed, crowded, counters; then told; with an idempotency key also the groups as proposed
  passed: alerts, '<group>:<percent>,…'; crowded: owners left out, since their scope has no place for another name
]]

return tracking.count(false, '{"degraded":true}', 35 * 24 * 3600 * 1000)
