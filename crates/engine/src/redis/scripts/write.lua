-- Before scripts that write records and their streams. Redis ends a script half-way where a right is missing: an entry is in the stream
-- then that its record does not count yet. No client has heard of it, and whoever adds next takes it away. Of a record
-- itself nothing is changed before all rights for that were used once: they stay as they are while a script runs.

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

-- Sets fields of a record with its new header, if there is one, and removes others: those from ARGV[first] on are removed,
-- fields with values begin at ARGV[values].
local function write_fields(record, header, first, values)
  if values > first then redis.call('HDEL', record, '') end
  for i = values, #ARGV, 1000 do
    redis.call('HSET', record, unpack(ARGV, i, math.min(i + 999, #ARGV)))
  end
  if header then redis.call('HSET', record, 'h', header) end
  for i = first, values - 1, 1000 do
    redis.call('HDEL', record, unpack(ARGV, i, math.min(i + 999, values - 1)))
  end
end

