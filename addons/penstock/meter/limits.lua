-- One message of one proxy about one limit of one scope, answered at once and atomically.
--
-- KEYS[1] the generation of this store, KEYS[2] the scope's hash; both in one hash slot.
-- ARGV[1] the message (JSON), see meter/lease.py. Times are milliseconds of the server's clock.
-- What is granted counts as used from that moment; nothing is granted beyond the limit.
local SLICES, GRACE, POD = 20, 2000, 120000
local PART = 32 -- ahead of need at most this part of what is left

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local message = cjson.decode(ARGV[1])

-- A store that was flushed, or restarted (its newest writes may be lost), is another
-- generation: in its first moments proxies tell it what they know, and nothing is granted.
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local born, generation
local marker = redis.call('HMGET', KEYS[1], 'run', 'born', 'generation')
if marker[1] == run and marker[2] then
  born, generation = tonumber(marker[2]), marker[3]
else
  born, generation = now, string.format('%.0f', now) .. string.sub(run, 1, 8)
  redis.call('HSET', KEYS[1], 'run', run, 'born', now, 'generation', generation)
end
local grace = math.max(0, born + GRACE - now)
local known = message.generation == generation
if message.kind == 'touch' then
  return {'ok', string.format('%.0f', now), generation, 0, '', 0, grace, 0}
end

local stored = redis.call('HGETALL', KEYS[2])
local sums, pods, slots, empty_at = {}, 0, 0, 0
local mine, gone = nil, {}
for i = 1, #stored, 2 do
  local name, value = stored[i], stored[i + 1]
  local kind, rest = string.sub(name, 1, 2), string.sub(name, 3)
  if kind == 'p:' then
    sums[rest] = tonumber(value)
  elseif kind == 's:' then
    local seq, grant, piece, at = string.match(value, '^(%d+)|(%d+)|(%-?%d*)|(%d+)$')
    if rest == message.pod then
      mine = {seq = tonumber(seq), grant = tonumber(grant), piece = piece}
    elseif now - tonumber(at) > POD then
      gone[#gone + 1] = name
    else
      pods = pods + 1
    end
  elseif kind == 'h:' then
    local count, ends = string.match(value, '^(%d+)|(%d+)$')
    if tonumber(ends) <= now then
      gone[#gone + 1] = name
    elseif rest ~= message.pod then
      slots = slots + tonumber(count)
    end
  elseif name == 'empty' then
    empty_at = tonumber(value)
  end
end
for _, name in ipairs(gone) do redis.call('HDEL', KEYS[2], name) end
pods = pods + 1

local function answer(status, grant, piece, total, wait)
  if status == 'ok' and grace > 0 then status = 'grace' end
  local reply = {status, string.format('%.0f', now), generation, grant, piece, total,
                 math.ceil(wait), pods}
  for name, value in pairs(sums) do
    reply[#reply + 1] = name
    reply[#reply + 1] = string.format('%.0f', value)
  end
  if message.kind == 'burst' then
    reply[#reply + 1] = 'empty'
    reply[#reply + 1] = string.format('%.3f', empty_at)
  end
  return reply
end

local function granted(left)
  if grace > 0 or left < message.need then return 0 end
  return message.need + math.min(message.ahead, math.floor((left - message.need) / PART))
end

if message.kind == 'parallel' then
  local left = message.limit - slots - message.holds
  local grant = granted(left)
  redis.call('HSET', KEYS[2], 'h:' .. message.pod,
             string.format('%.0f|%.0f', message.holds + grant, now + message.lease))
  redis.call('HSET', KEYS[2], 's:' .. message.pod,
             string.format('%.0f|%.0f||%.0f', message.seq, grant, now))
  redis.call('PEXPIRE', KEYS[2], math.max(POD, message.lease))
  return answer('ok', grant, '', slots + message.holds + grant, grace)
end

-- Which pieces count, and which one a grant is in: that of the moment the lease ends.
local piece, oldest, keep, width
if message.kind == 'slide' then
  width = message.span / SLICES
  piece = math.floor((now + message.lease) / width)
  oldest, keep = math.floor(now / width) - SLICES, 2 * message.span + 2 * message.lease
elseif message.kind == 'period' then
  if now < message.starts or now >= message.ends then
    return answer('stale', 0, '', 0, 0)
  end
  piece, oldest, keep = message.piece, message.piece, message.ends - now + 60000
else
  piece, keep = 0, message.room * message.each + POD
end
for name in pairs(sums) do
  if tonumber(name) < oldest then
    redis.call('HDEL', KEYS[2], 'p:' .. name)
    sums[name] = nil
  end
end
if not known then -- the store may have forgotten what this proxy was told: the larger counts
  for name, value in pairs(message.seen) do
    if name == 'empty' then
      empty_at = math.max(empty_at, value)
    elseif tonumber(name) >= oldest and value > (sums[name] or 0) then
      sums[name] = value
      redis.call('HSET', KEYS[2], 'p:' .. name, string.format('%.0f', value))
    end
  end
end

local repeated = known and mine and mine.seq >= message.seq -- answered, but never heard
local function add(name, amount)
  sums[name] = math.max(0, (sums[name] or 0) + amount)
  redis.call('HSET', KEYS[2], 'p:' .. name, string.format('%.0f', sums[name]))
end
local name = string.format('%.0f', piece)
if message.kind == 'burst' then
  if not repeated then
    if known then empty_at = empty_at - (message.returns['0'] or 0) * message.each end
    empty_at = math.max(empty_at, now) + message.spend * message.each
  end
elseif not repeated then
  if known then
    for other, amount in pairs(message.returns) do
      if tonumber(other) >= oldest and sums[other] then add(other, -amount) end
    end
  end
  if message.spend > 0 then add(name, message.spend) end
end

local total = 0
if message.kind == 'burst' then
  total = math.ceil(math.max(0, empty_at - now) / message.each)
else
  for _, value in pairs(sums) do total = total + value end
end
local left = message.room - total
local grant
if repeated then
  grant, name = mine.grant, mine.piece
else
  grant = granted(left)
  if grant > 0 then
    if message.kind == 'burst' then
      empty_at = math.max(empty_at, now) + grant * message.each
    else
      add(name, grant)
    end
    total = total + grant
  end
  redis.call('HSET', KEYS[2], 's:' .. message.pod,
             string.format('%.0f|%.0f|%s|%.0f', message.seq, grant, name, now))
end
if message.kind == 'burst' then
  redis.call('HSET', KEYS[2], 'empty', string.format('%.3f', empty_at))
end
redis.call('PEXPIRE', KEYS[2], math.ceil(keep))

local wait = grace
if grace == 0 and left < message.need and not repeated then
  local over = message.need - left
  if message.kind == 'burst' then
    wait = over * message.each
  elseif message.kind == 'period' then
    wait = message.ends - now
  else -- when enough old pieces have left
    local order = {}
    for each in pairs(sums) do order[#order + 1] = tonumber(each) end
    table.sort(order)
    wait = message.span
    for _, each in ipairs(order) do
      over = over - sums[string.format('%.0f', each)]
      if over <= 0 then
        wait = (each + SLICES + 1) * width - now
        break
      end
    end
  end
end
return answer('ok', grant, name, total, wait)
