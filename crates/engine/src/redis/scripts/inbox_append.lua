-- KEYS: session, inbox. ARGV: sender and its number or "", the message, most messages, most bytes.
-- Answers {offset, node, store of the offset, turn}, or the store: it has no session.
-- The session's record counts its inbox: o is the newest offset, b bytes, c messages; a numbered message that is kept has
-- a field with its offset. q is the store at which the newest was appended; p the one before, and x the newest offset then.
local STORE = '@STORE@'
local name, message = ARGV[1], ARGV[2]
local record = redis.call('HMGET', KEYS[1], 'n', 'o', 'b', 'c', 'q', 'd' .. name, 't')
local node, at = record[1], record[5]
if not node then return STORE end
if name ~= '' and record[6] then return {record[6], node, at, record[7]} end
if at and at ~= STORE then redis.call('HSET', KEYS[1], 'p', at, 'x', record[2]) end
local offset = string.format('%.0f', (record[2] or 0) + 1)
local bytes, count = (record[3] or 0) + #message, (record[4] or 0) + 1
add(record[2] or 0, KEYS[2], offset .. '-0', 'k', name, 'm', message)
if count == 1 then
  local ends = redis.call('PEXPIRETIME', KEYS[1])
  if ends > 0 then redis.call('PEXPIREAT', KEYS[2], ends) end
end
local most, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
if count > 1 and (count > most or bytes > most_bytes) then
  -- Nothing is taken away before the rights to count it were used.
  redis.call('HSET', KEYS[1], 'o', record[2])
  redis.call('HDEL', KEYS[1], '')
end
while count > 1 and (count > most or bytes > most_bytes) do
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', KEYS[2], oldest[1])
  if oldest[2][2] ~= '' then redis.call('HDEL', KEYS[1], 'd' .. oldest[2][2]) end
  bytes, count = bytes - #oldest[2][4], count - 1
end
redis.call('HSET', KEYS[1], 'o', offset, 'b', bytes, 'c', count, 'q', STORE)
if name ~= '' then redis.call('HSET', KEYS[1], 'd' .. name, offset) end
return {offset, node, STORE, record[7]}
