-- KEYS: a webhook's counts, the queue of a lane. ARGV: most events, most bytes, milliseconds until the keys end, then for
-- each event the place at which it was, or "", and the event. One that is at its place stays there. Those that there is no
-- room for are not kept, nor any new ones behind them. Answers how many wait, and where each is, or "".
local STORE = '@STORE@'
local have = redis.call('HMGET', KEYS[1], 'c', 'b')
local count, bytes = tonumber(have[1] or 0), tonumber(have[2] or 0)
local most, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local places, added, is_full = {}, 0, false
for i = 4, #ARGV, 2 do
  local place, event = ARGV[i], ARGV[i + 1]
  local there = place ~= '' and redis.call('XRANGE', KEYS[2], place, place)[1]
  if not there or there[2][2] ~= event then
    is_full = is_full or count + 1 > most or bytes + #event > most_bytes
    if is_full then
      place = ''
    else
      place = redis.call('XADD', KEYS[2], '*', 'e', event)
      added, count, bytes = added + 1, count + 1, bytes + #event
    end
  end
  places[#places + 1] = place
end
if added > 0 then
  redis.call('HSET', KEYS[1], 'c', count, 'b', bytes)
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return {count, places}
