-- KEYS: a webhook's counts. ARGV: the lane, who holds it, for how many milliseconds more. Answers 0 where another node has
-- it by now.
local STORE = '@STORE@'
local holder, till = 'h' .. ARGV[1], 'u' .. ARGV[1]
if redis.call('HGET', KEYS[1], holder) ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], till, string.format('%.0f', now + ARGV[3]))
return 1
