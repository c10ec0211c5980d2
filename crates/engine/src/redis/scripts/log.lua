-- Before scripts that add to a stream. Redis ends a script half-way where a right is missing: an entry is in the stream
-- then that its record does not count yet. No client has heard of it, and whoever adds next takes it away.

-- Takes away what is behind this offset. A stream takes no smaller id again, so it is made anew.
local function forget_behind(stream, offset)
  local newest = string.format('%.0f-0', offset)
  if #redis.call('XRANGE', stream, '(' .. newest, '+', 'COUNT', 1) == 0 then return end
  local kept, ends = redis.call('XRANGE', stream, '-', newest), redis.call('PEXPIRETIME', stream)
  redis.call('UNLINK', stream)
  for _, entry in ipairs(kept) do redis.call('XADD', stream, entry[1], unpack(entry[2])) end
  if ends > 0 then redis.call('PEXPIREAT', stream, ends) end
end

-- Adds an entry where the newest that counts has this offset.
local function add(offset, stream, ...)
  if type(redis.pcall('XADD', stream, ...)) ~= 'table' then return end
  forget_behind(stream, offset)
  redis.call('XADD', stream, ...)
end

