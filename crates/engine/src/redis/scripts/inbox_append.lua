-- KEYS: session, inbox. ARGV: sender and its number or "", the message, most messages, most bytes.
-- Answers {offset, node}, or nil: there is no session. In the text of the script stands the store: @STORE@.
-- The session's record counts its inbox: o is the newest offset, b bytes, c messages; a numbered message that is kept has
-- a field with its offset.
local name, message = ARGV[1], ARGV[2]
local record = redis.call('HMGET', KEYS[1], 'n', 'o', 'b', 'c', 'd' .. name)
local node = record[1]
if not node then return false end
if name ~= '' and record[5] then return {record[5], node} end
local offset = string.format('%.0f', (record[2] or 0) + 1)
local bytes, count = (record[3] or 0) + #message, (record[4] or 0) + 1
redis.call('XADD', KEYS[2], offset .. '-0', 'k', name, 'm', message)
if count == 1 then
  local at = redis.call('PEXPIRETIME', KEYS[1])
  if at > 0 then redis.call('PEXPIREAT', KEYS[2], at) end
end
local most, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
while count > 1 and (count > most or bytes > most_bytes) do
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', KEYS[2], oldest[1])
  if oldest[2][2] ~= '' then redis.call('HDEL', KEYS[1], 'd' .. oldest[2][2]) end
  bytes, count = bytes - #oldest[2][4], count - 1
end
redis.call('HSET', KEYS[1], 'o', offset, 'b', bytes, 'c', count)
if name ~= '' then redis.call('HSET', KEYS[1], 'd' .. name, offset) end
return {offset, node}
