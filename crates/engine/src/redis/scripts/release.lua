-- KEYS: room, log. ARGV: store, home and fence, milliseconds until the end or 0: at once. In the text of the script
-- stands the store: @STORE@.
local header = redis.call('HGET', KEYS[1], 'h')
if header and header:sub(3, 82) == ARGV[1] then
  if ARGV[2] == '0' then
    redis.call('UNLINK', KEYS[1], KEYS[2])
  else
    redis.call('HSET', KEYS[1], 'h', header:sub(1, 34) .. string.rep('-', 32) .. header:sub(67))
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
  end
end
return 0
