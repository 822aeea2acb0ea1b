-- @noindex
-- JSON as job files need it: UTF-8 in, UTF-8 out, nothing beyond RFC 8259.

local json = {}

-- JSON's null has to survive in a table, which nil would not.
json.null = setmetatable({}, { __tostring = function() return "null" end })

local ARRAY = {}

-- Marks a table as an array, so that an empty one is written as [].
function json.array(values) return setmetatable(values or {}, ARRAY) end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

-- Not %c, which asks the locale and may find control characters within UTF-8.
local SPECIAL = '[\0-\31"\\]'

local function quoted(text)
  return '"' .. text:gsub(SPECIAL, function(c) return ESCAPES[c] or ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function number(value)
  if value ~= value or value == math.huge or value == -math.huge then error("JSON has no such number: " .. value) end
  if math.type(value) == "integer" then return tostring(value) end
  -- A decimal comma would come from the locale of the program around us.
  return (("%.17g"):format(value):gsub(",", "."))
end

local encode

local function sorted_keys(object)
  local keys = {}
  for key in pairs(object) do
    if type(key) ~= "string" then error("JSON keys are strings, not " .. type(key)) end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local function encode_table(value)
  local parts = {}
  if getmetatable(value) == ARRAY or #value > 0 then
    for i, each in ipairs(value) do parts[i] = encode(each) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for i, key in ipairs(sorted_keys(value)) do parts[i] = quoted(key) .. ":" .. encode(value[key]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

function encode(value)
  local kind = type(value)
  if value == json.null then return "null" end
  if kind == "string" then return quoted(value) end
  if kind == "number" then return number(value) end
  if kind == "boolean" then return tostring(value) end
  if kind == "table" then return encode_table(value) end
  error("JSON has no " .. kind)
end

json.encode = encode

local decode_value

local function fail(at, what) error({ json = ("not JSON: %s at byte %d"):format(what, at) }, 0) end

local function skip(text, at) return text:find("[^ \t\r\n]", at) or #text + 1 end

local UNESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

-- What stands after \u, and where to go on; two halves make one character beyond U+FFFF.
local function decode_unicode(text, at)
  local high = tonumber(text:match("^%x%x%x%x", at) or fail(at, "a broken \\u"), 16)
  local low = tonumber(text:match("^\\u([dD][c-fC-F]%x%x)", at + 4) or "", 16)
  if high >= 0xD800 and high < 0xDC00 and low then
    return utf8.char(0x10000 + (high - 0xD800) * 0x400 + (low - 0xDC00)), at + 10
  end
  return utf8.char(high), at + 4
end

local function decode_string(text, at)
  local parts, from = {}, at + 1
  while true do
    local stop = text:find(SPECIAL, from) or fail(at, "a string without an end")
    parts[#parts + 1] = text:sub(from, stop - 1)
    local mark, escape = text:sub(stop, stop), text:sub(stop + 1, stop + 1)
    if mark == '"' then return table.concat(parts), stop + 1 end
    if mark ~= "\\" then fail(stop, "a control character in a string") end
    if escape == "u" then
      parts[#parts + 1], from = decode_unicode(text, stop + 2)
    else
      parts[#parts + 1], from = UNESCAPES[escape] or fail(stop, "an unknown escape"), stop + 2
    end
  end
end

-- The members between two brackets; `member` reads one and returns where it ends.
local function decode_members(text, at, closing, member)
  at = skip(text, at + 1)
  if text:sub(at, at) == closing then return at + 1 end
  while true do
    at = skip(text, member(skip(text, at)))
    local mark = text:sub(at, at)
    if mark == closing then return at + 1 end
    if mark ~= "," then fail(at, "',' or '" .. closing .. "' is missing") end
    at = at + 1
  end
end

local function decode_array(text, at)
  local values, count = json.array(), 0
  return values, decode_members(text, at, "]", function(from)
    local value, after = decode_value(text, from)
    count = count + 1
    values[count] = value
    return after
  end)
end

local function decode_object(text, at)
  local object = {}
  return object, decode_members(text, at, "}", function(from)
    if text:sub(from, from) ~= '"' then fail(from, "a key is missing") end
    local key, after = decode_string(text, from)
    after = skip(text, after)
    if text:sub(after, after) ~= ":" then fail(after, "':' is missing") end
    object[key], after = decode_value(text, skip(text, after + 1))
    return after
  end)
end

local function decode_number(text, at)
  local found = text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
  local value = found and not found:find("^-?0%d") and tonumber(found)
  if not value then fail(at, "no value") end
  return value, at + #found
end

local WORDS = { { "true", true }, { "false", false }, { "null", json.null } }

function decode_value(text, at)
  local mark = text:sub(at, at)
  if mark == "{" then return decode_object(text, at) end
  if mark == "[" then return decode_array(text, at) end
  if mark == '"' then return decode_string(text, at) end
  for _, word in ipairs(WORDS) do
    if text:sub(at, at + #word[1] - 1) == word[1] then return word[2], at + #word[1] end
  end
  return decode_number(text, at)
end

-- The value that a text holds, or nil and why not.
function json.decode(text)
  local fine, value, at = pcall(function()
    local start = text:sub(1, 3) == "\239\187\191" and 4 or 1 -- a byte order mark
    return decode_value(text, skip(text, start))
  end)
  if not fine then return nil, type(value) == "table" and value.json or tostring(value) end
  at = skip(text, at)
  if at <= #text then return nil, ("not JSON: something follows at byte %d"):format(at) end
  return value
end

return json
