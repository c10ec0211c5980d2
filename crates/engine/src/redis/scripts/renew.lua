-- KEYS: room, log; of a renewal in parts also what waits beside them. ARGV: the header afterwards, n of the record that
-- this is added to or "", which part, whether it is the last, the fence that the home had, milliseconds until the end or
-- 0, how many entries of the log, these with last offset and events, how many fields are removed, these, then fields
-- with values.
-- Answers 0: confirmed; 1: there is no record to add to, or no earlier part; a header: refused.
local STORE = '@STORE@'
-- A Redis that was demoted and promoted again lacks writes, and knows its scripts still.
local info = redis.call('INFO', 'server', 'replication')
local id = redis.sha1hex(info:match('run_id:(%x+)') .. ':' .. info:match('master_replid:(%x+)'))
if id:sub(1, 32) ~= STORE then return redis.error_reply('NOSCRIPT this is another Redis') end
local new, part, last = ARGV[1], tonumber(ARGV[3]), ARGV[4] == '1'
local fence = new:sub(67, 82)
local old = redis.call('HGET', KEYS[1], 'h')
if old then
  if old:byte(1) ~= 49 then return redis.error_reply('NEWER the record is of a newer version') end
  local its, had = tonumber(old:sub(67, 82)), tonumber(ARGV[5])
  if old:sub(3, 34) == STORE then
    if old == new then return 0 end
    if old:byte(2) ~= 49 or its > had then return old end
  else
    local same_node = old:byte(35) == 45 or old:sub(35, 50) == new:sub(35, 50)
    if its > had or (its == had and not same_node) then return old end
  end
end

local room, log = KEYS[1], KEYS[2]
local parts = part > 0 or not last
if ARGV[2] ~= '' then
  if not old or old:sub(83, 98) ~= ARGV[2] or old:sub(67, 82) ~= ARGV[5] then return 1 end
  forget_behind(log, tonumber(old:sub(99, 114), 16))
elseif not parts then
  redis.call('UNLINK', room, log)
else
  room, log = KEYS[3], KEYS[4]
  if part == 0 then
    redis.call('UNLINK', room, log)
  else
    local at = redis.call('HGET', room, 'p')
    if not at or at:sub(1, 16) ~= fence then return 1 end
    local next = tonumber(at:sub(17))
    if part + 1 == next and not last then return 0 end
    if part ~= next then return 1 end
  end
end

local at = 8
for _ = 1, ARGV[7] do
  add(ARGV[at] - 1, log, ARGV[at] .. '-0', 'e', ARGV[at + 1])
  at = at + 2
end
local values = at + 1 + ARGV[at]
write_fields(room, last and new, at + 1, values)

if not last then
  redis.call('HSET', room, 'p', fence .. (part + 1))
  redis.call('PEXPIRE', room, 3600000)
  redis.call('PEXPIRE', log, 3600000)
  return 0
end
if parts then
  redis.call('PERSIST', room)
  redis.call('PERSIST', log)
  redis.call('UNLINK', KEYS[1], KEYS[2])
  if redis.call('EXISTS', log) == 1 then redis.call('RENAME', log, KEYS[2]) end
  -- The header comes last.
  redis.call('RENAME', room, KEYS[1])
  redis.call('HDEL', KEYS[1], 'p')
end
if ARGV[6] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
elseif ARGV[2] ~= '' and redis.call('EXISTS', KEYS[2]) == 1 then
  local ends = redis.call('PEXPIRETIME', KEYS[1])
  if ends > 0 then redis.call('PEXPIREAT', KEYS[2], ends) end
end
return 0
