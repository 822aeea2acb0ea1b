-- Seconds of a WAV or FLAC file, from its header; nil for anything else.

local function wav(file)
  local rate, block
  while true do
    local id, size = file:read(4), file:read(4)
    if not id or not size then return nil end
    size = string.unpack("<I4", size)
    if id == "fmt " then
      rate, block = string.unpack("<I4 xxxx I2", file:read(size), 5)
    elseif id == "data" then
      return size / block / rate
    else
      file:seek("cur", size + size % 2)
    end
  end
end

local function flac(file)
  file:seek("set", 8)
  local packed = string.unpack(">I8", file:read(18), 11)
  return (packed & ((1 << 36) - 1)) / (packed >> 44)
end

return function(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local magic = file:read(4)
  local seconds
  if magic == "RIFF" then
    file:seek("set", 12)
    seconds = wav(file)
  elseif magic == "fLaC" then
    seconds = flac(file)
  end
  file:close()
  return seconds
end
