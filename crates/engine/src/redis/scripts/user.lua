-- KEYS: the user's clients. ARGV: one more or "", most of them or 0, milliseconds until the end or 0, then those that are
-- gone. Answers the store and who is there.
local STORE = '@STORE@'
for i = 4, #ARGV, 1000 do
  redis.call('SREM', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
if ARGV[1] ~= '' and (ARGV[2] == '0' or redis.call('SCARD', KEYS[1]) < tonumber(ARGV[2])) then
  redis.call('SADD', KEYS[1], ARGV[1])
end
local clients = redis.call('SMEMBERS', KEYS[1])
if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
-- As many as there may be of a user are few.
table.insert(clients, 1, STORE)
return clients
