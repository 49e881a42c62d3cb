"""The Lua that keeps limits and budgets in Redis: one script for each verb, run there without anything in between.

Long because the scripts share their prelude and the layout of what they keep, which is one contract.

Every key begins with a prefix ``P`` that holds the tenant as a Cluster hash tag, so all that one call touches is in one
slot. A script is given one key, for its route, and derives the others: which scopes an exchange was admitted to is
known only from its record. Redis Cluster allows that within a slot.

============================  ======  ===============================================================================
key                           type    what
============================  ======  ===============================================================================
``P x:<exchange>``            hash    a running exchange: ``s`` its scopes (JSON), ``o`` those of them whose budgets
                                      know of it already, ``k`` tokens taken, ``h`` hold, ``a`` its answer; or ``e``:
                                      ended, and a stale command must not begin it again
``P m:<scope>``               hash    two buckets: ``?l`` limit, ``?b`` burst, ``?t`` taken, ``?f`` moment last full
``P s:<scope>``               zset    slots: exchange -> when its lease lapses
``P b:<scope>:<period>``      hash    ``spent``, ``held``, ``told`` (highest share), ``born`` (moment of the ledger's
                                      figure in it), ``known`` (whether there was one)
``P leases``                  zset    exchange -> when its hold is written off
============================  ======  ===============================================================================

Moments are whole microseconds of Redis' own clock, which a double holds exactly. Money is added by HINCRBY (64 bits)
and compared as dollars and nano-dollars apart, since a double is exact to 9 million USD only. All that may fail for
what somebody else left under a key is read before anything is written: Redis takes no half of a script back.
"""

from hashlib import sha1
from typing import Final

REDIS_CLOCK: Final = """
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
"""
"""The moment it is, in microseconds; one clock for all replicas. (Needs Redis 5: scripts replicate their effects.)"""

_PRELUDE: Final = """
local DAY, HOUR = 86400e6, 3600e6
local P, id = ARGV[1], ARGV[2]
local now = clock()

local function exact(n) return string.format('%.17g', n) end
local function whole(n) return string.format('%.0f', n) end

local function expire(key, us)  -- nothing stays for ever; the longest budget period but total is a month
  redis.call('PEXPIRE', key, whole(math.ceil(math.min(us, 35 * DAY) / 1000)))
end

local function parts(figure)  -- of nano-dollars, in decimal: dollars and the rest
  if string.sub(figure, 1, 1) == '-' then return 0, 0 end
  if #figure <= 9 then return 0, tonumber(figure) end
  return tonumber(string.sub(figure, 1, -10)), tonumber(string.sub(figure, -9))
end

local function within(limit, a, b, c)  -- a + b + c <= limit
  local dollars, nanos = parts(a)
  for _, figure in ipairs({b or '0', c or '0'}) do
    local d, n = parts(figure)
    dollars, nanos = dollars + d, nanos + n
  end
  dollars, nanos = dollars + math.floor(nanos / 1e9), nanos % 1e9
  local d, n = parts(limit)
  return dollars < d or (dollars == d and nanos <= n)
end

local function minus(figure) return figure == '0' and '0' or '-' .. figure end

local function account_key(scope) return P .. 'b:' .. scope.key .. ':' .. scope.span end

local function recorded(scopes, omitted)  -- the scopes of a record
  local all = cjson.decode(scopes)
  for i in string.gmatch(omitted or '', '%d+') do all[tonumber(i)].budget = nil end
  return all
end

local function is_account(key)  -- also: of no other type
  return redis.pcall('HEXISTS', key, 'spent') == 1
end

-- A bucket as TokenBucket in core/bucket.py has it: the level follows from the moment it was last full.
local function bucket(limit, burst, was)
  local b = {limit = limit, burst = burst, rate = limit / 60e6, taken = 0, full = now}
  local taken, full = tonumber(was[3] or nil), tonumber(was[4] or nil)
  if taken and full then
    local old_limit, old_burst = tonumber(was[1]), tonumber(was[2])
    if full > now then full, b.moved = now, true end  -- the clock was put back
    local gained = (now - full) * old_limit / 60e6
    if gained < taken then
      if old_limit == limit and old_burst == burst then
        b.taken, b.full = taken, full
      else  -- other figures: as full as before, by share; a debt stays what it is
        local level = old_burst - taken + gained
        b.taken = level > 0 and burst * (1 - level / old_burst) or burst - level
      end
    end
  end
  return b
end

local function level(b) return b.burst - b.taken + (now - b.full) * b.rate end
local function wait(b, n)
  local missing = n - level(b)
  return missing <= b.rate and 0 or missing / b.rate  -- what comes in within a microsecond is there
end
local function full_in(b) return b and (b.burst - level(b)) / b.rate or 0 end

local function read_meter(scope)
  local was = redis.call('HMGET', P .. 'm:' .. scope.key, 'rl', 'rb', 'rt', 'rf', 'tl', 'tb', 'tt', 'tf')
  return {
    requests = scope.r > 0 and bucket(scope.r, scope.rb, {was[1], was[2], was[3], was[4]}) or nil,
    tokens = scope.t > 0 and bucket(scope.t, scope.tb, {was[5], was[6], was[7], was[8]}) or nil,
  }
end

local function write_meter(scope, meter, lease)
  local key = P .. 'm:' .. scope.key
  for letter, b in pairs({r = meter.requests, t = meter.tokens}) do
    redis.call('HSET', key, letter .. 'l', exact(b.limit), letter .. 'b', exact(b.burst),
               letter .. 't', exact(b.taken), letter .. 'f', whole(b.full))
  end
  if meter.requests or meter.tokens then
    expire(key, math.max(full_in(meter.requests), full_in(meter.tokens)) + lease)
  end
end

local function take_slot(scope, lease)
  local key = P .. 's:' .. scope.key
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now))
  redis.call('ZADD', key, whole(now + lease), id)
  expire(key, lease + 60e6)
end

local function write_off()  -- holds that nobody settled: all of it is spent, so no budget can be overspent by it
  for _, lost in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', whole(now), 'LIMIT', 0, 16)) do
    local key = P .. 'x:' .. lost
    local record = redis.pcall('HMGET', key, 's', 'h', 'o')
    if record[1] then
      for _, scope in ipairs(recorded(record[1], record[3])) do
        local account = scope.budget and account_key(scope)
        if account and is_account(account) then
          redis.call('HINCRBY', account, 'held', minus(record[2]))
          redis.call('HINCRBY', account, 'spent', record[2])
        end
      end
      redis.call('DEL', key)
    end
    redis.call('ZREM', P .. 'leases', lost)
  end
end
"""

_ASK: Final = """
-- KEYS x; ARGV P id mode tokens hold lease orphan scopes loads ledger since until
-- modes: admit; look (at one scope); adopt (it runs already, without our leave); lost (it had our leave: do we know?)
local mode, tokens, hold = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local lease, orphan = tonumber(ARGV[6]), tonumber(ARGV[7])
local scopes, loads, since = cjson.decode(ARGV[8]), cjson.decode(ARGV[9]), tonumber(ARGV[11])
local ended, omitted = tonumber(ARGV[12]), ''  -- 0: it runs

if mode ~= 'look' then
  local known = redis.call('HMGET', KEYS[1], 'a', 'e')
  if known[2] then return {'ended', whole(now)} end
  if known[1] then
    local told = cjson.decode(known[1])
    told[2] = whole(now)
    return told
  end
end
write_off()

local accounts, unknown = {}, {}
for i, scope in ipairs(scopes) do
  if scope.budget then
    local present = scope.from <= now and (scope.to < 0 or now < scope.to)
    if not present and (mode == 'admit' or mode == 'look') then return {'period', whole(now)} end
    local found = redis.call('HMGET', account_key(scope), 'spent', 'held', 'born', 'known')
    if found[1] then
      accounts[i] = {spent = found[1], held = found[2], born = tonumber(found[3]), known = found[4] == '1'}
    elseif present then
      local load = loads[tostring(i)]
      if load then
        accounts[i] = {spent = load[1], held = '0', born = tonumber(load[2]), known = load[3] == 1, new = true}
      elseif ARGV[10] == '1' then
        unknown[#unknown + 1] = tostring(i)
      else
        accounts[i] = {spent = '0', held = '0', born = now, known = false, new = true}
      end
    end
  end
end
if #unknown > 0 then return {'unknown', whole(now), unpack(unknown)} end

local meters, in_flight = {}, 0
for i, scope in ipairs(scopes) do
  if scope.limits then
    meters[i] = read_meter(scope)
    meters[i].in_flight = redis.call('ZCOUNT', P .. 's:' .. scope.key, '(' .. whole(now), '+inf')
  end
end

for i, account in pairs(accounts) do
  local key = account_key(scopes[i])
  if account.new then
    local told = 0
    for _, soft in ipairs(scopes[i].soft) do
      if account.spent ~= '0' and within(account.spent, soft[2]) then told = math.max(told, soft[1]) end
    end
    redis.call('HSET', key, 'spent', account.spent, 'held', account.held, 'told', exact(told),
               'born', whole(account.born), 'known', account.known and '1' or '0')
  end
  expire(key, scopes[i].to < 0 and 35 * DAY or math.max(scopes[i].to - now, 0) + orphan + HOUR)
end

local function least(kind)
  local lowest, b = math.huge, nil
  for i = 1, #scopes do
    local mine = meters[i] and meters[i][kind]
    if mine and level(mine) < lowest then lowest, b = level(mine), mine end
  end
  if not b then return '', '', '' end
  local there = math.max(0, math.floor(math.min(lowest + b.rate, b.burst)))
  return whole(b.limit), whole(there), exact((b.burst - lowest) / b.rate / 1e6)
end

local function answer(...)
  local rl, rn, rs = least('requests')
  local tl, tn, ts = least('tokens')
  return {select(1, ...), whole(now), rl, rn, rs, tl, tn, ts, select(2, ...)}
end

if mode == 'look' then
  local account, meter = accounts[1], meters[1]
  return answer('look', account and account.spent or '', account and account.held or '',
                meter and whole(meter.in_flight) or '')
end

if mode == 'admit' then
  local longest, limit, which = 0, nil, nil
  local function in_the_way(us, name, i)
    if us > longest then longest, limit, which = us, name, i end
  end
  for i, scope in ipairs(scopes) do
    if meters[i] then
      if scope.c > 0 and meters[i].in_flight >= scope.c then in_the_way(1e6, 'concurrent', i) end
      if meters[i].requests then in_the_way(wait(meters[i].requests, 1), 'requests', i) end
      if meters[i].tokens then in_the_way(wait(meters[i].tokens, math.min(tokens, scope.tb)), 'tokens', i) end
    end
  end
  for i, scope in ipairs(scopes) do
    local account = accounts[i]
    if account and hold ~= '0' and not within(scope.budget, account.spent, account.held, hold) then
      if within(scope.budget, account.spent, hold) then in_the_way(1e6, 'budget', i)
      elseif scope.to < 0 or not within(scope.budget, hold) then in_the_way(math.huge, 'budget', i)
      else in_the_way(scope.to - now, 'budget', i) end
    end
  end
  if limit then
    for i, meter in pairs(meters) do
      if (meter.requests and meter.requests.moved) or (meter.tokens and meter.tokens.moved) then
        write_meter(scopes[i], meter, lease)
      end
    end
    local account = accounts[which] or {spent = '', held = ''}
    return answer('no', limit, tostring(which), longest < math.huge and exact(longest / 1e6) or '',
                  account.spent, account.held)
  end
elseif mode == 'lost' then  -- an account that is older than the exchange has lost nothing: somebody else ended it
  local lost = not next(accounts)
  for _, account in pairs(accounts) do lost = lost or account.born > since end
  if not lost then return {'ended', whole(now)} end
end

for i, scope in ipairs(scopes) do
  local meter, account = meters[i], accounts[i]
  if meter then
    if mode == 'admit' then
      if meter.requests then meter.requests.taken = meter.requests.taken + 1 end
      if meter.tokens then meter.tokens.taken = meter.tokens.taken + tokens end
      write_meter(scope, meter, lease)
    end
    take_slot(scope, lease)
  end
  -- What the ledger's figure has in it depends on when it was asked for: nothing, the hold as spent, or the cost.
  if account and mode ~= 'admit' and account.known and ended > 0 and account.born > ended then
    omitted = omitted .. i .. ' '
  elseif account then
    if mode ~= 'admit' and account.known and account.born > since and within(account.spent, hold) then
      redis.call('HINCRBY', account_key(scope), 'spent', minus(hold))
    end
    redis.call('HINCRBY', account_key(scope), 'held', hold)
  end
end
local told = answer('yes')
redis.call('HSET', KEYS[1], 's', ARGV[8], 'k', mode == 'admit' and ARGV[4] or '-1', 'h', hold, 'a', cjson.encode(told),
           'o', omitted)
redis.call('ZADD', P .. 'leases', whole(now + lease + orphan), id)
local stay = next(accounts) and 35 * DAY or lease + orphan
expire(KEYS[1], stay)
expire(P .. 'leases', 35 * DAY)
return told
"""

_END: Final = """
-- KEYS x; ARGV P id verb(settle|withdraw) tokens(-1: the estimate stands) cost lease bury
local verb, tokens, cost, lease = ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local record = redis.call('HMGET', KEYS[1], 's', 'k', 'h', 'e', 'o')
local function bury()
  if ARGV[7] == '1' then
    redis.call('HSET', KEYS[1], 'e', '1')
    expire(KEYS[1], HOUR)
  end
end
if not record[1] then
  local ended = record[4]
  bury()
  return {ended and 'ended' or 'missing', whole(now)}
end
local scopes, taken, hold = recorded(record[1], record[5]), tonumber(record[2]), record[3]
if verb == 'withdraw' then tokens = 0 end
local meters, accounts = {}, {}
for i, scope in ipairs(scopes) do
  if scope.limits then
    redis.call('ZCARD', P .. 's:' .. scope.key)
    if taken >= 0 and (verb == 'withdraw' or (tokens >= 0 and tokens ~= taken)) then meters[i] = read_meter(scope) end
  end
  if scope.budget and is_account(account_key(scope)) then
    accounts[i] = redis.call('HMGET', account_key(scope), 'spent', 'held', 'told')
  end
end
redis.call('ZREM', P .. 'leases', id)
redis.call('DEL', KEYS[1])
bury()
local told = {'done', whole(now)}
for i, scope in ipairs(scopes) do
  local meter, account = meters[i], accounts[i]
  if scope.limits then redis.call('ZREM', P .. 's:' .. scope.key, id) end
  if meter then
    if verb == 'withdraw' and meter.requests then meter.requests.taken = meter.requests.taken - 1 end
    if meter.tokens then meter.tokens.taken = meter.tokens.taken + tokens - taken end
    write_meter(scope, meter, lease)
  end
  if account then
    local key = account_key(scope)
    redis.call('HINCRBY', key, 'held', minus(hold))
    if verb == 'settle' then
      redis.call('HINCRBY', key, 'spent', cost)
      local spent, last = redis.call('HGET', key, 'spent'), tonumber(account[3])
      local highest = last
      for _, soft in ipairs(scope.soft) do
        if soft[1] > last and spent ~= '0' and within(spent, soft[2]) then
          highest = math.max(highest, soft[1])
          for _, word in ipairs({tostring(i), exact(soft[1]), spent, redis.call('HGET', key, 'held')}) do
            told[#told + 1] = word
          end
        end
      end
      if highest > last then redis.call('HSET', key, 'told', exact(highest)) end
    end
  end
end
if #told > 2 then table.insert(told, 3, record[1]) end
return told
"""

_TOP_UP: Final = """
-- KEYS x; ARGV P id more
local record = redis.call('HMGET', KEYS[1], 's', 'e', 'o')
if not record[1] then return {record[2] and 'ended' or 'missing', whole(now)} end
local more, keys = ARGV[3], {}
for _, scope in ipairs(recorded(record[1], record[3])) do
  if scope.budget then
    local key = account_key(scope)
    local found = redis.call('HMGET', key, 'spent', 'held')
    if more ~= '0' and not (found[1] and within(scope.budget, found[1], found[2], more)) then
      return {'no', whole(now)}
    end
    if found[1] then keys[#keys + 1] = key end
  end
end
for _, key in ipairs(keys) do redis.call('HINCRBY', key, 'held', more) end
redis.call('HINCRBY', KEYS[1], 'h', more)
return {'done', whole(now)}
"""

_RENEW: Final = """
-- KEYS leases; ARGV P lease orphan exchange...
local lease, orphan = tonumber(ARGV[2]), tonumber(ARGV[3])
local missing = {'done', whole(now)}
for n = 4, #ARGV do
  id = ARGV[n]
  local scopes = redis.call('HGET', P .. 'x:' .. id, 's')
  if scopes then
    local budgeted = false
    for _, scope in ipairs(cjson.decode(scopes)) do
      if scope.limits then take_slot(scope, lease) end
      budgeted = budgeted or scope.budget
    end
    redis.call('ZADD', KEYS[1], whole(now + lease + orphan), id)
    expire(P .. 'x:' .. id, budgeted and 35 * DAY or lease + orphan)
  else
    missing[#missing + 1] = id
  end
end
expire(KEYS[1], 35 * DAY)
return missing
"""

_BEAT: Final = """
-- KEYS replicas; ARGV _ name within(us; 0: goes)
local silence = tonumber(ARGV[3])
if silence == 0 then
  redis.call('ZREM', KEYS[1], id)
else
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - silence))
  redis.call('ZADD', KEYS[1], whole(now), id)
  expire(KEYS[1], silence)
end
return {'done', whole(now), whole(redis.call('ZCARD', KEYS[1]))}
"""


class Script:
    """One script: its text and the digest by which Redis knows it; ``name`` is for people."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, body: str, clock: str, name: str = "") -> None:
        self.name = name
        self.text = clock + _PRELUDE + body
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """All of them, on one clock.

    Args:
        clock: Lua that defines ``clock()``; there is one in production.
    """

    def __init__(self, clock: str = REDIS_CLOCK) -> None:
        self.ask = Script(_ASK, clock, "admit")
        self.end = Script(_END, clock, "settle")
        self.top_up = Script(_TOP_UP, clock, "top_up")
        self.renew = Script(_RENEW, clock, "renew")
        self.beat = Script(_BEAT, clock, "beat")
