-- KEYS: room, log. ARGV: the header afterwards, the n before, settled, first offset to keep or 0, last offset and events
-- of an entry or "", milliseconds until the end or 0, how many fields are removed, these, then fields with values.
-- Answers 0: confirmed; 1: there is no record; 2: not settled; a header: refused. In the text of the script stands the
-- store: @STORE@.
local new = ARGV[1]
local old = redis.call('HGET', KEYS[1], 'h')
if not old then return 1 end
-- Store, home and fence.
if old:sub(3, 82) ~= new:sub(3, 82) or new:byte(35) == 45 then return old end
local pending, n = old:byte(2) == 49, old:sub(83, 98)
if pending and ARGV[3] ~= '1' then return 2 end
-- A pending record's number is that of its renewal.
if n == new:sub(83, 98) and not pending then return 0 end
if n ~= ARGV[2] then return old end

local ends = ARGV[7]
if ARGV[5] ~= '' then
  local newest = tonumber(old:sub(99, 114), 16)
  if ARGV[4] ~= '0' then
    add(newest, KEYS[2], 'MINID', '=', ARGV[4], ARGV[5] .. '-0', 'e', ARGV[6])
  else
    add(newest, KEYS[2], ARGV[5] .. '-0', 'e', ARGV[6])
  end
  if ends == '0' and redis.call('XLEN', KEYS[2]) == 1 then
    local at = redis.call('PEXPIRETIME', KEYS[1])
    if at > 0 then redis.call('PEXPIREAT', KEYS[2], at) end
  end
elseif ARGV[4] ~= '0' then
  redis.call('XTRIM', KEYS[2], 'MINID', '=', ARGV[4])
end
local values = 9 + ARGV[8]
write_fields(KEYS[1], new, 9, values)
if ends ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ends)
  redis.call('PEXPIRE', KEYS[2], ends)
end
return 0
