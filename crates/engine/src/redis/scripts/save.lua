-- KEYS: session, inbox. ARGV: turn, node, value, the store that knows the session or "", milliseconds until the end or 0.
-- Answers 1: done; 0: it is another's, or has ended. What another store knows may be older here.
local STORE = '@STORE@'
local record = redis.call('HMGET', KEYS[1], 't', 'n')
if record[1] then
  local own = record[1] == ARGV[1] and record[2] == ARGV[2]
  local elsewhere = ARGV[4] ~= '' and ARGV[4] ~= STORE
  if not own and not (elsewhere and tonumber(record[1]) < tonumber(ARGV[1])) then return 0 end
elseif ARGV[4] == STORE then
  return 0
else
  -- What is left of an older session's inbox.
  redis.call('UNLINK', KEYS[2])
end
redis.call('HSET', KEYS[1], 't', ARGV[1], 'n', ARGV[2], 'v', ARGV[3])
if ARGV[5] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return 1
