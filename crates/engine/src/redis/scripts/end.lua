-- KEYS: session, inbox. ARGV: turn, node.
-- Answers 1: it has ended; 0: it is another's. In the text of the script stands the store: @STORE@.
local record = redis.call('HMGET', KEYS[1], 't', 'n')
if record[1] then
  local old, new = tonumber(record[1]), tonumber(ARGV[1])
  if old > new or (old == new and record[2] ~= ARGV[2]) then return 0 end
end
redis.call('UNLINK', KEYS[1], KEYS[2])
return 1
