--[[
track_degraded: counts a reserve that a node allowed while this Redis was away, once: the operation is that reserve's own,
and its answer is kept for as long as the node's journal may wait, so that journals of other nodes, a journal that is
read again, and the client's own repetition find it. The ledger says that it was degraded.

KEYS
  1   stamp of the configuration in this bucket
  2   record of this operation
  3   test clock (read only in a sandbox)
  4   outbox
  5   ledger
  6   denials
  7…  per owner: counters, holds, past, and unless it is a user the index of its scope; the first owner is the user
  then, unless the request's id is '-': approvals, those that are open
  last two, unless forget_at is '-': index of users, those to be forgotten

ARGV
  fingerprint ('-' without an idempotency key)
  facts: see lib/facts
  verdict: '' or the node's own refusal under these facts
  refund: 1 takes the amounts away, never below 0
  operation name, about '<event> <key> <user>', memo: the request
  told: what a repetition has to know beside the figures
  owners: see lib/counter
  request: id of an approval request ('-' none), what the node tells of the call

Replies, in order of precedence
  replayed, record | reused                 see lib/operation; the record may be the reservation, if the reserve was done after all
  stale_configuration | stale_stamp | stale_user | stale_time | again | denied    as in reserve
  tracked, now, reclaimed, passed, crowded, then per group: used, held, granted, blocked; then told; then the
    groups as proposed
  passed: alerts, '<group>:<percent>,…'; crowded: owners left out, since their scope has no place for another name
]]

return tracking.count(false, '{"degraded":true}', 35 * 24 * 3600 * 1000)
