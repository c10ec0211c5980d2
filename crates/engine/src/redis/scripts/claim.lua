-- KEYS: room, log. ARGV: me, dead or "", settled, epoch, timestamp, n of my copy or "", the next n, its fence,
-- milliseconds until the end or 0, only an existing one.
-- Answers {0, fields, log?}: loaded; {1, header}: kept; {2, home}: another's; {3}: not settled; {4}: absent.
local STORE = '@STORE@'
-- A Redis that was demoted and promoted again lacks writes, and knows its scripts still.
local info = redis.call('INFO', 'server', 'replication')
local id = redis.sha1hex(info:match('run_id:(%x+)') .. ':' .. info:match('master_replid:(%x+)'))
if id:sub(1, 32) ~= STORE then return redis.error_reply('NOSCRIPT this is another Redis') end
local me, dead, settled = ARGV[1], ARGV[2], ARGV[3] == '1'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local header = redis.call('HGET', KEYS[1], 'h')
local kept = false

if not header then
  if not settled then return {3} end
  if ARGV[10] == '1' then return {4} end
  -- What is left of an older record's log has nothing to do with this one.
  redis.call('UNLINK', KEYS[1], KEYS[2])
  local fence = string.format('%016.0f', math.max(now, 1))
  local zero = string.rep('0', 16)
  header = '10' .. STORE .. me .. fence .. zero .. zero .. ARGV[4] .. '00000001' .. ARGV[5] .. '0'
else
  if header:byte(1) ~= 49 then return redis.error_reply('NEWER the record is of a newer version') end
  local home = header:sub(35, 66)
  local own = home:byte(1) == 45 or home:sub(1, 16) == me:sub(1, 16)
  if not own and home ~= dead then return {2, home} end
  local same_store = header:sub(3, 34) == STORE
  if not settled and (header:byte(2) == 49 or not same_store) then return {3} end
  local n = header:sub(83, 98)
  kept = own and same_store and header:sub(67, 82) == ARGV[8] and (n == ARGV[6] or n == ARGV[7])
  -- Frames of a room's state begin at its fence: where the clock was set back, it rises by more than a home has made.
  local before = tonumber(header:sub(67, 82))
  local fence = string.format('%016.0f', now > before and now or before + 1000000)
  local epochs = header:sub(115)
  if not same_store then
    -- The new epoch, players, time and presence, the epoch that ends with its offset, and seven older ones.
    epochs = ARGV[4] .. header:sub(133, 157) .. header:sub(115, 132) .. header:sub(99, 114) .. header:sub(158, 395)
  end
  header = '10' .. STORE .. me .. fence .. header:sub(83, 114) .. epochs
  forget_behind(KEYS[2], tonumber(header:sub(99, 114), 16))
end

redis.call('HSET', KEYS[1], 'h', header)
local answer = {1, header}
if not kept then
  answer = {0, redis.call('HGETALL', KEYS[1])}
  -- Who has a copy expects to keep it, and has not asked for the log.
  if ARGV[6] ~= '' then answer[3] = redis.call('XRANGE', KEYS[2], '-', '+') end
end
if ARGV[9] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[9])
  redis.call('PEXPIRE', KEYS[2], ARGV[9])
end
return answer
