-- KEYS: session, inbox. ARGV: turn, node, the store that knows the session or "".
-- Answers 1: it has ended; 0: it is another's. What another store knows may be older here.
local STORE = '@STORE@'
local record = redis.call('HMGET', KEYS[1], 't', 'n')
if record[1] then
  local own = record[1] == ARGV[1] and record[2] == ARGV[2]
  local elsewhere = ARGV[3] ~= '' and ARGV[3] ~= STORE
  if not own and not (elsewhere and tonumber(record[1]) < tonumber(ARGV[1])) then return 0 end
end
redis.call('UNLINK', KEYS[1], KEYS[2])
return 1
