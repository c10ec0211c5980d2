-- KEYS: session, inbox. ARGV: turn.
-- Answers 1: it has ended; 0: its turn is higher. In the text of the script stands the store: @STORE@.
local turn = redis.call('HGET', KEYS[1], 't')
if turn and tonumber(turn) > tonumber(ARGV[1]) then return 0 end
redis.call('UNLINK', KEYS[1], KEYS[2])
return 1
