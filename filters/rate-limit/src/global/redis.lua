-- GCRA over any number of buckets, all charged or none. A value is the moment at which its bucket is
-- full again, in units of 100 ns since 2025, so that doubles hold it exactly until 2053.
-- KEYS: the buckets. ARGV: how many requests more to take ahead, then cost, interval and capacity of
-- each bucket. Answer: whether it was charged, requests taken ahead, time to wait, debt of each bucket.
local time = redis.call('TIME')
local now = (time[1] - 1735689600) * 10000000 + time[2] * 10
local ahead, wait, full = tonumber(ARGV[1]), 0, {}
for i, key in ipairs(KEYS) do
  local price, capacity = ARGV[3 * i - 1] * ARGV[3 * i], tonumber(ARGV[3 * i + 1])
  -- No bucket owes more than its capacity, unless the clock has stepped back.
  full[i] = math.min(math.max(tonumber(redis.call('GET', key) or 0) or 0, now), now + capacity)
  local spare = now + capacity - full[i] - price
  wait = math.max(wait, -spare)
  ahead = math.min(ahead, math.floor(spare / price / 8))
end
local allowed, debts = wait == 0 and 1 or 0, {}
if allowed == 0 then ahead = 0 end
for i, key in ipairs(KEYS) do
  if allowed == 1 then
    full[i] = full[i] + ARGV[3 * i - 1] * ARGV[3 * i] * (1 + ahead)
    redis.call('SET', key, string.format('%.0f', full[i]), 'PX', math.ceil((full[i] - now) / 10000) + 1)
  end
  debts[i] = string.format('%.0f', full[i] - now)
end
-- As texts: webdis 0.1.9 corrupts its memory over numbers of more than 31 bits.
return {tostring(allowed), string.format('%.0f', ahead), string.format('%.0f', wait), unpack(debts)}
