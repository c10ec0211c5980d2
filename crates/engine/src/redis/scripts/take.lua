-- KEYS: session. ARGV: the turn or "", the node, the attempt.
-- Answers {1, turn, node, value}, the same with 0 where the turn is another and nothing was changed, or the store, @STORE@,
-- with its time in milliseconds where there is no record.
local record = redis.call('HMGET', KEYS[1], 't', 'n', 'v', 'a')
local turn = record[1]
if not turn then
  local time = redis.call('TIME')
  return {'@STORE@', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))}
end
if record[2] ~= ARGV[2] or record[4] ~= ARGV[3] then
  if ARGV[1] ~= '' and ARGV[1] ~= turn then return {0, turn, record[2], record[3]} end
  turn = string.format('%.0f', turn + 1)
  redis.call('HSET', KEYS[1], 't', turn, 'n', ARGV[2], 'a', ARGV[3])
end
return {1, turn, ARGV[2], record[3]}
