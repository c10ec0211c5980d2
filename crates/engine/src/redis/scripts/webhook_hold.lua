-- KEYS: a webhook's counts. ARGV: the lane, who holds it, for how many milliseconds more. Answers how many events wait
-- in all lanes, or -1 where another node has it by now.
local STORE = '@STORE@'
local holder, till = 'h' .. ARGV[1], 'u' .. ARGV[1]
local have = redis.call('HMGET', KEYS[1], holder, 'c')
if have[1] ~= ARGV[2] then return -1 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], till, string.format('%.0f', now + ARGV[3]))
return tonumber(have[2] or 0)
