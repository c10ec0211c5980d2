-- Before scripts that add to a stream. Redis ends a script half-way where a right is missing: an entry is in the stream
-- then that its record does not count yet. No client has heard of it, and whoever adds next takes it away.

-- Takes away what is behind this offset.
local function forget_behind(stream, offset)
  local newest = string.format('%.0f-0', offset)
  local left = redis.call('XRANGE', stream, '(' .. newest, '+')
  if #left == 0 then return end
  for _, entry in ipairs(left) do redis.call('XDEL', stream, entry[1]) end
  redis.call('XSETID', stream, newest, 'ENTRIESADDED', redis.call('XLEN', stream), 'MAXDELETEDID', '0-0')
end

-- Adds an entry where the newest that counts has this offset.
local function add(offset, stream, ...)
  if type(redis.pcall('XADD', stream, ...)) ~= 'table' then return end
  forget_behind(stream, offset)
  redis.call('XADD', stream, ...)
end

