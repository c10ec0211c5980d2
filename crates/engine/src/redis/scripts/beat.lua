-- KEYS: the nodes. ARGV: node, number of the lease, whether it begins, milliseconds of a lease, milliseconds for which
-- entries are kept, the rest of the entry.
-- Answers {whether the lease is gone, the time, then node and entry of each}.
-- An entry has a version, the time (2 to 17), the number of the lease (18 to 33), and the rest.
local STORE = '@STORE@'
-- A Redis that was demoted and promoted again lacks writes, and knows its scripts still.
local info = redis.call('INFO', 'server', 'replication')
local id = redis.sha1hex(info:match('run_id:(%x+)') .. ':' .. info:match('master_replid:(%x+)'))
if id:sub(1, 32) ~= STORE then return redis.error_reply('NOSCRIPT this is another Redis') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local own = redis.call('HGET', KEYS[1], ARGV[1])
local since = own and tonumber(own:sub(2, 17))
-- An entry of the future was written before the clock was set back. Whoever wrote it may be dead for long.
local lives = ARGV[3] == '1' or since and own:sub(18, 33) == ARGV[2] and math.abs(now - since) < tonumber(ARGV[4])
if lives then
  redis.call('HSET', KEYS[1], ARGV[1], '1' .. string.format('%016.0f', now) .. ARGV[2] .. ARGV[6])
end
local answer = {lives and 0 or 1, string.format('%.0f', now)}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  -- What has no time in it is passed over: one entry must not end everybody's lease.
  local at = tonumber(all[i + 1]:sub(2, 17))
  if at and now < at + ARGV[5] then
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = all[i + 1]
  elseif at then
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return answer
