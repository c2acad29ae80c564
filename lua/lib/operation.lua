-- The record of an operation: a reservation (see lib/record), or a stored answer, 'answer\n<fingerprint>\n…'. A repeated
-- reserve finds its reservation. A repetition of any other call with an idempotency key finds the first answer.
local operation = {
  answer_ttl_ms = 20 * 60 * 1000,
  -- Fingerprint of a call without a client's key that would count twice: its record lives long enough for the node's
  -- own repetition after a broken connection.
  node_fingerprint = 'node',
  node_ttl_ms = 60 * 1000,
}

-- Returns a reply if this operation was executed before: 'replayed' with the record, or 'reused' with another body.
function operation.seen(key, fingerprint)
  local stored = redis.call('GET', key)
  if not stored then
    return nil
  end
  local known = string.match(stored, '^answer\n([^\n]*)') or string.match(stored, '^%a+ %d+ %d+ [^\n]- request=(%S+)') or '-'
  if known ~= fingerprint then
    return { 'reused' }
  end
  return { 'replayed', stored }
end

-- Stores the answer for a repetition of this call (fingerprint '-': the call can be repeated safely). With `owners` the
-- answer ends with the groups as proposed, so that it can be returned again later. The answer may also be one text, as
-- the straight path returns it. With `keep_ms` it is always stored, for that long.
function operation.keep(key, fingerprint, answer, owners, keep_ms)
  -- A denial changed nothing: without a client's key it is decided again.
  local harmless = fingerprint == '-' or (fingerprint == operation.node_fingerprint and answer[1] == 'denied')
  if keep_ms or not harmless then
    if owners then
      answer[#answer + 1] = counter.describe(owners)
    end
    local ttl = keep_ms or fingerprint == operation.node_fingerprint and operation.node_ttl_ms or operation.answer_ttl_ms
    local lines = { 'answer', fingerprint }
    for _, part in ipairs(type(answer) == 'string' and { answer } or answer) do
      lines[#lines + 1] = type(part) == 'number' and args.digits(part) or part
    end
    redis.call('SET', key, table.concat(lines, '\n'), 'PX', args.digits(ttl))
  end
  return answer
end

-- How long (ms) a reservation's record is stored after a call with an idempotency key: a repetition finds its answer by
-- the record's user. A second longer than the answer, since Redis counts each lifetime from its own command.
function operation.record_ttl(expires_at, now, sandbox)
  return clock.ttl(math.max(expires_at - now + clock.grace_ms, operation.answer_ttl_ms + 1000), sandbox)
end
