-- KEYS: a webhook's counts, the queue of a lane. ARGV: most events, most bytes, milliseconds until the keys end, then
-- events. Those that there is no room for are not kept, nor any behind them. Answers how many were kept, and how many wait.
local STORE = '@STORE@'
local have = redis.call('HMGET', KEYS[1], 'c', 'b')
local count, bytes = tonumber(have[1] or 0), tonumber(have[2] or 0)
local most, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = 0
for i = 4, #ARGV do
  if count + 1 > most or bytes + #ARGV[i] > most_bytes then break end
  redis.call('XADD', KEYS[2], '*', 'e', ARGV[i])
  kept, count, bytes = kept + 1, count + 1, bytes + #ARGV[i]
end
if kept > 0 then
  redis.call('HSET', KEYS[1], 'c', count, 'b', bytes)
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return {kept, count}
