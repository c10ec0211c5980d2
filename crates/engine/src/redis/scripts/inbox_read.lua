-- KEYS: session, inbox. ARGV: after this offset, most bytes, but one message.
-- Answers {newest offset, oldest entry's id or "", store of the newest or "", the store before or "", the newest offset
-- there, then offset and message of each}. In the text of the script stands the store: @STORE@.
local record = redis.call('HMGET', KEYS[1], 'o', 'q', 'p', 'x')
local last = record[1]
if not last then return {'0', '', '', '', '0'} end
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
local answer = {last, first and first[1] or '', record[2] or '', record[3] or '', record[4] or '0'}
local bytes = 0
-- Behind the newest lies what a script left that Redis ended half-way.
for i, entry in ipairs(redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-0', last .. '-0')) do
  bytes = bytes + #entry[2][4]
  if i > 1 and bytes > tonumber(ARGV[2]) then break end
  answer[#answer + 1] = entry[1]
  answer[#answer + 1] = entry[2][4]
end
return answer
