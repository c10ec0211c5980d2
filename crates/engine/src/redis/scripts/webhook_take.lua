-- KEYS: a webhook's counts, the queue of a lane. ARGV: the lane, who asks, for how many milliseconds it holds the lane, most
-- events, most bytes, the last event that it has sent or "".
-- One node at a time holds a lane: h is which, u until when. Answers what waits, a place before which all is sent, and the
-- first events with their places; none, where another node holds the lane. A lane in which nothing waits is held by nobody.
local STORE = '@STORE@'
local holder, till = 'h' .. ARGV[1], 'u' .. ARGV[1]
local have = redis.call('HMGET', KEYS[1], holder, till, 'c', 'b')
local count, bytes = tonumber(have[3] or 0), tonumber(have[4] or 0)
if ARGV[6] ~= '' then
  local sent = redis.call('XRANGE', KEYS[2], '-', ARGV[6])
  for _, entry in ipairs(sent) do
    redis.call('XDEL', KEYS[2], entry[1])
    count, bytes = count - 1, bytes - #entry[2][2]
  end
  if #sent > 0 then redis.call('HSET', KEYS[1], 'c', math.max(count, 0), 'b', math.max(bytes, 0)) end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local is_held = have[1] and have[1] ~= ARGV[2] and tonumber(have[2]) > now
local entries = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', is_held and 1 or ARGV[4])
local answer, taken, most = {count, string.format('%.0f-0', now)}, 0, tonumber(ARGV[5])
if #entries > 0 then answer[2] = entries[1][1] end
if is_held then return answer end
if #entries == 0 then
  if have[1] then redis.call('HDEL', KEYS[1], holder, till) end
  return answer
end
redis.call('HSET', KEYS[1], holder, ARGV[2], till, string.format('%.0f', now + ARGV[3]))
for at, entry in ipairs(entries) do
  taken = taken + #entry[2][2]
  if at > 1 and taken > most then break end
  answer[#answer + 1] = entry[1]
  answer[#answer + 1] = entry[2][2]
end
return answer
