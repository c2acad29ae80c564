#!lua
--[[
track_enforce: counts only if there is room in every group.

KEYS
  1   stamp of the configuration in this bucket
  2   record of this operation
  3   test clock (read only in a sandbox)
  4…  per owner: counters, holds, past; the first owner is the user
  last two, unless forget_at is '-': index of users, those to be forgotten

ARGV
  fingerprint ('-' without an idempotency key)
  facts: see lib/facts
  verdict: '' or the node's own refusal under these facts
  refund: 1 takes the amounts away, never below 0
  owners: count, then per owner group count, then per group id, window, amount, limit

Replies, in order of precedence
  replayed, record | reused                 see lib/operation
  stale_configuration | stale_user | stale_time | again | denied    as in reserve
  tracked, now, reclaimed, then per group: used, held, granted, blocked; with an idempotency key also the groups as proposed
]]
--- @include "lib/tracking"
