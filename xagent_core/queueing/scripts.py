"""The transitions of the books, each one script that Redis runs as a whole.

They use few and old commands, so that servers and embedded stores which only speak a part of Redis serve too. Time
is the server's own where it tells, so that the clocks of machines need not agree.

Keys, below the prefix:

    job:ID      hash     the job
    events:ID   stream   its events, by their sequence numbers
    queued:Q    zset     ids by when they may start
    running:Q   zset     ids by when they were started
    finished:Q, dead:Q, cancelled:Q    ids by when they ended
    outbox      zset     queued jobs by when their message is to be sent (again)
    leases      zset     running jobs by when their worker counts as lost
    workers     zset     workers by when they count as gone; worker:ID has the rest
    orders:ID   stream   what a worker is told: the jobs to cancel
    key:KEY     string   the job of an idempotency key
    queues      set      names of queues
    totals:Q    hash     counters
    swept       string   when the leases were last looked at
"""

from __future__ import annotations

from typing import Final

__all__ = ["APPEND", "CANCEL", "CLAIM", "CLOCK", "DUE", "END", "EXPIRE", "RENEW", "REQUEUE", "RETRY", "SUBMIT", "SWEEP"]

_COMMON: Final = """
local P, given = ARGV[1], ARGV[2]
local now = tonumber(given)
if not now then
  local t = redis.call('TIME')
  now = tonumber(t[1]) + tonumber(t[2]) / 1000000
end
local function text(n) return string.format('%.6f', n) end
local function event(id, attempt, kind, ...)
  local seq = redis.call('HINCRBY', P..'job:'..id, 'sequence', 1)
  redis.call('XADD', P..'events:'..id, string.format('%d-0', seq), 't', text(now), 'a', attempt, 'k', kind, ...)
end
local function count(queue, what) redis.call('HINCRBY', P..'totals:'..queue, what, 1) end
local function get(id, field) return redis.call('HGET', P..'job:'..id, field) or '' end
local function held(id, token) return get(id, 'state') == 'running' and get(id, 'token') == token end
-- What a worker is told whose attempt has moved a job on, also when it asks again because the answer was lost.
local function moved(id, token, state)
  if get(id, 'token') ~= token or get(id, 'state') ~= state then return {} end
  return {state, get(id, 'ended'), get(id, 'ready')}
end
local function leave(id, queue, state)
  redis.call('ZREM', P..state..':'..queue, id)
  redis.call('ZREM', P..'leases', id)
  redis.call('ZREM', P..'outbox', id)
end
local function finish(id, queue, from, state, keep)
  leave(id, queue, from)
  redis.call('HSET', P..'job:'..id, 'state', state, 'ended', text(now))
  redis.call('ZADD', P..state..':'..queue, now, id)
  count(queue, state)
  event(id, get(id, 'attempt'), 'ended', 'state', state)
  redis.call('EXPIRE', P..'job:'..id, keep)
  redis.call('EXPIRE', P..'events:'..id, keep)
  local key = get(id, 'key')
  if key ~= '' then redis.call('EXPIRE', P..'key:'..key, keep) end
end
local function enqueue(id, queue, ready, resend)
  redis.call('HSET', P..'job:'..id, 'state', 'queued', 'ready', text(ready))
  redis.call('ZADD', P..'queued:'..queue, ready, id)
  local first = now + tonumber(resend)
  if ready > now then first = ready end
  redis.call('ZADD', P..'outbox', first, id)
end
"""

CLOCK: Final = _COMMON + "return text(now)"

# ARGV: id queue request digest idempotent key attempts delay headers resend. The answer: the job that there is now, its
# digest, whether it is this one, when it was created, and when it may start.
SUBMIT: Final = (
    _COMMON
    + """
local id, queue, key, delay = ARGV[3], ARGV[4], ARGV[8], tonumber(ARGV[10])
local job = P..'job:'..id
-- The answer was lost: the id is the submitter's own.
if redis.call('EXISTS', job) == 1 then return {id, get(id, 'digest'), 1, get(id, 'created'), get(id, 'ready')} end
if key ~= '' then
  local other = redis.call('GET', P..'key:'..key)
  if other and redis.call('EXISTS', P..'job:'..other) == 1 then return {other, get(other, 'digest'), 0, '', ''} end
  redis.call('SET', P..'key:'..key, id)
end
redis.call('SADD', P..'queues', queue)
redis.call('HSET', job, 'id', id, 'queue', queue, 'request', ARGV[5], 'digest', ARGV[6], 'idempotent', ARGV[7],
  'key', key, 'attempts', ARGV[9], 'headers', ARGV[11], 'created', text(now), 'attempt', '0')
event(id, 0, 'queued', 'delay', ARGV[10])
enqueue(id, queue, now + delay, ARGV[12])
count(queue, 'submitted')
return {id, ARGV[6], 1, text(now), get(id, 'ready')}
"""
)

# ARGV: id worker token lease, then the queues that come before the job's. The answer is the job that was begun: the
# most urgent one, whose own message will be late. It is empty where this message is late, or a duplicate.
CLAIM: Final = (
    _COMMON
    + """
local id = ARGV[3]
for _, begun in ipairs({id, get(id, 'instead')}) do
  if held(begun, ARGV[5]) then return redis.call('HGETALL', P..'job:'..begun) end  -- the answer was lost
end
-- A message of an attempt that has failed may come before the next is due; the outbox has another.
if get(id, 'state') ~= 'queued' or (tonumber(get(id, 'ready')) or 0) > now + 0.001 then return {} end
for i = 7, #ARGV do
  local urgent = redis.call('ZRANGEBYSCORE', P..'queued:'..ARGV[i], '-inf', now, 'LIMIT', 0, 1)[1]
  if urgent then
    redis.call('HSET', P..'job:'..id, 'instead', urgent)
    id = urgent
    break
  end
end
local queue, job = get(id, 'queue'), P..'job:'..id
leave(id, queue, 'queued')
local attempt = redis.call('HINCRBY', job, 'attempt', 1)
redis.call('HSET', job, 'state', 'running', 'worker', ARGV[4], 'token', ARGV[5], 'batch', '0',
  'started', text(now))
redis.call('ZADD', P..'running:'..queue, now, id)
redis.call('ZADD', P..'leases', now + tonumber(ARGV[6]), id)
count(queue, 'started')
event(id, attempt, 'started', 'worker', ARGV[4])
return redis.call('HGETALL', job)
"""
)

# ARGV: id token number, then one JSON document an event. Batches of an attempt are numbered from 1.
APPEND: Final = (
    _COMMON
    + """
local id = ARGV[3]
if not held(id, ARGV[4]) then return 0 end
if (tonumber(get(id, 'batch')) or 0) >= tonumber(ARGV[5]) then return 1 end  -- the answer was lost
redis.call('HSET', P..'job:'..id, 'batch', ARGV[5])
local attempt = get(id, 'attempt')
for i = 6, #ARGV do event(id, attempt, 'output', 'o', ARGV[i]) end
return 1
"""
)

# ARGV: id token state result failure keep. The answer: the state, and when it ended; empty where another holds the job.
END: Final = (
    _COMMON
    + """
local id = ARGV[3]
if held(id, ARGV[4]) then
  redis.call('HSET', P..'job:'..id, 'result', ARGV[6], 'failure', ARGV[7])
  finish(id, get(id, 'queue'), 'running', ARGV[5], ARGV[8])
end
return moved(id, ARGV[4], ARGV[5])
"""
)

# ARGV: id token delay failure cause resend keep. The answer is that of END, and when it may start.
RETRY: Final = (
    _COMMON
    + """
local id, delay = ARGV[3], tonumber(ARGV[5])
local again = 'queued'
if get(id, 'cancel') ~= '' then again = 'cancelled' end
if not held(id, ARGV[4]) then return moved(id, ARGV[4], again) end
local queue = get(id, 'queue')
redis.call('HSET', P..'job:'..id, 'failure', ARGV[6])
if again == 'cancelled' then
  finish(id, queue, 'running', again, ARGV[9])
  return moved(id, ARGV[4], again)
end
leave(id, queue, 'running')
enqueue(id, queue, now + delay, ARGV[8])
count(queue, 'retried')
event(id, get(id, 'attempt'), 'retry', 'delay', ARGV[5], 'cause', ARGV[7])
return moved(id, ARGV[4], again)
"""
)

# ARGV: id keep
CANCEL: Final = (
    _COMMON
    + """
local id = ARGV[3]
local state = get(id, 'state')
if state == 'queued' then
  finish(id, get(id, 'queue'), 'queued', 'cancelled', ARGV[4])
elseif state == 'running' then
  redis.call('HSET', P..'job:'..id, 'cancel', '1')
  local orders = P..'orders:'..get(id, 'worker')
  local number = redis.call('HINCRBY', P..'totals:', 'orders', 1)
  redis.call('XADD', orders, string.format('%d-0', number), 'cancel', id)
  redis.call('EXPIRE', orders, 60)
end
return state
"""
)

# ARGV: id attempts resend
REQUEUE: Final = (
    _COMMON
    + """
local id = ARGV[3]
local state = get(id, 'state')
if state ~= 'dead' then return state end
local queue, job = get(id, 'queue'), P..'job:'..id
leave(id, queue, 'dead')
redis.call('HSET', job, 'attempts', tonumber(get(id, 'attempt')) + tonumber(ARGV[4]), 'cancel', '', 'ended', '')
for _, key in ipairs({job, P..'events:'..id}) do redis.call('EXPIRE', key, 3153600000) end
if get(id, 'key') ~= '' then redis.call('EXPIRE', P..'key:'..get(id, 'key'), 3153600000) end
event(id, get(id, 'attempt'), 'queued', 'delay', '0')
enqueue(id, queue, now, ARGV[5])
return 'dead'
"""
)

# ARGV: worker info lease expiry, then id and token of each job. The answer: jobs it must not go on with.
RENEW: Final = (
    _COMMON
    + """
local until_when = now + tonumber(ARGV[5])
redis.call('ZADD', P..'workers', now + tonumber(ARGV[6]), ARGV[3])
redis.call('SET', P..'worker:'..ARGV[3], ARGV[4], 'EX', math.ceil(tonumber(ARGV[6])))
local stop = {}
for i = 7, #ARGV, 2 do
  if not held(ARGV[i], ARGV[i + 1]) then
    stop[#stop + 1] = 'lost'
    stop[#stop + 1] = ARGV[i]
  else
    redis.call('ZADD', P..'leases', until_when, ARGV[i])
    if get(ARGV[i], 'cancel') ~= '' then
      stop[#stop + 1] = 'cancel'
      stop[#stop + 1] = ARGV[i]
    end
  end
end
return stop
"""
)

# ARGV: grace most. The answer: id and token of jobs whose worker is lost.
SWEEP: Final = (
    _COMMON
    + """
-- When nobody could look for a while, the server was away, and the workers are given time to renew their leases.
local swept, grace = tonumber(redis.call('GET', P..'swept') or '0'), tonumber(ARGV[3])
redis.call('SET', P..'swept', text(now))
if now - swept > grace then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P..'leases', '-inf', now + grace)) do
    redis.call('ZADD', P..'leases', now + grace, id)
  end
  return {}
end
local lost = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P..'leases', '-inf', now, 'LIMIT', 0, tonumber(ARGV[4]))) do
  if get(id, 'state') ~= 'running' then
    redis.call('ZREM', P..'leases', id)
  else
    lost[#lost + 1] = id
    lost[#lost + 1] = get(id, 'token')
  end
end
return lost
"""
)

# ARGV: resend most. The answer: id, queue, and whether it was sent before, of jobs whose message is due.
DUE: Final = (
    _COMMON
    + """
local due = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P..'outbox', '-inf', now, 'LIMIT', 0, tonumber(ARGV[4]))) do
  local ready = tonumber(get(id, 'ready')) or 0
  if get(id, 'state') ~= 'queued' then
    redis.call('ZREM', P..'outbox', id)
  else
    local again = '1'
    if tonumber(redis.call('ZSCORE', P..'outbox', id)) <= ready + 0.00001 then again = '0' end
    redis.call('ZADD', P..'outbox', now + tonumber(ARGV[3]), id)
    due[#due + 1] = id
    due[#due + 1] = get(id, 'queue')
    due[#due + 1] = again
  end
end
return due
"""
)

# ARGV: queue keep keep_dead
EXPIRE: Final = (
    _COMMON
    + """
local queue = ARGV[3]
for state, keep in pairs({finished = ARGV[4], cancelled = ARGV[4], dead = ARGV[5]}) do
  redis.call('ZREMRANGEBYSCORE', P..state..':'..queue, '-inf', now - tonumber(keep))
end
return 0
"""
)
