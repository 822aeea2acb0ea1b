-- @noindex
-- What the user chose, kept by REAPER between sessions, and the dialog that asks for it.

local settings = {}

local SECTION = "TTSR"
local DEFAULTS = { preset = "general", budget = "", takes = "1", markers = "y", options = "" }
local FIELDS = {
  { "preset", "Preset (or a .toml file)" },
  { "budget", "Budget: 16 or 64nfe or 30s" },
  { "takes", "Best renders as takes (1-8)" },
  { "markers", "Mark uncertain places (y/n)" },
  { "options", "More: name=value name=value" },
}
local MOST_TAKES = 8

function settings.get(key) return reaper.GetExtState(SECTION, key) end

function settings.set(key, value) reaper.SetExtState(SECTION, key, value, true) end

-- The last settings, or nil where there are none yet.
function settings.last()
  if settings.get("preset") == "" then return nil end
  local values = {}
  for key in pairs(DEFAULTS) do values[key] = settings.get(key) end
  return values
end

local function remember(values)
  for key, value in pairs(values) do settings.set(key, value) end
end

-- 3 -> 3, true -> true, everything else stays a word.
local function typed(word)
  if word == "true" or word == "false" then return word == "true" end
  return tonumber(word) or word
end

-- "seed=3 verifier=critic verifier=consensus" as a job's options; a name that comes twice makes a list.
-- Values with spaces stand in double quotes. Nil and the part that is wrong where it is none.
local function parse_options(text)
  local options, rest = {}, text
  while rest:find("%S") do
    local name, value, after = rest:match('^%s*([%w_-]+)="([^"]*)"(.*)$')
    if not name then
      name, value, after = rest:match("^%s*([%w_-]+)=(%S+)(.*)$")
      value = value and typed(value)
    end
    if not name then return nil, rest:match("%S+") end
    local before = options[name]
    if type(before) == "table" then
      before[#before + 1] = value
    else
      options[name] = before == nil and value or { before, value }
    end
    rest = after
  end
  return options
end

local function add_budget(options, text)
  if text == "" then return true end
  if text:find("^%d+$") then
    options.candidates = math.tointeger(tonumber(text))
  elseif text:find("^%d+nfe$") or text:find("^%d+%.?%d*s$") then
    options.budget = text
  else
    return false
  end
  return true
end

-- What a job needs, from what stands in the dialog; nil and what is wrong where that cannot be.
function settings.check(values)
  local options, odd = parse_options(values.options)
  if not options then return nil, ("%q is no name=value."):format(odd) end
  local takes = math.tointeger(tonumber(values.takes))
  if not takes or takes < 1 or takes > MOST_TAKES then
    return nil, ("Best renders as takes: a number from 1 to %d, please."):format(MOST_TAKES)
  end
  if values.preset == "" then return nil, "A preset is needed, for instance general." end
  if not add_budget(options, values.budget) then
    return nil, "Budget: a number of candidates (16), evaluations (64nfe) or seconds per file (30s), or nothing."
  end
  return { preset = values.preset, options = options, takes = takes, markers = not values.markers:find("^[nN0]") }
end

local function split_lines(text)
  local lines = {}
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do lines[#lines + 1] = line:match("^%s*(.-)%s*$") end
  return lines
end

local function show(values)
  local captions, given = {}, {}
  for i, field in ipairs(FIELDS) do captions[i], given[i] = field[2], values[field[1]] end
  captions[#captions + 1] = "extrawidth=180"
  captions[#captions + 1] = "separator=\n" -- a path may hold a comma
  local agreed, answer =
    reaper.GetUserInputs("TTSR: render selected items", #FIELDS, table.concat(captions, ","), table.concat(given, "\n"))
  if not agreed then return nil end
  local lines, chosen = split_lines(answer), {}
  for i, field in ipairs(FIELDS) do chosen[field[1]] = lines[i] or "" end
  return chosen
end

-- Asks until the answers can be used, and remembers them; nil when the user turns away.
function settings.ask()
  local values = settings.last() or DEFAULTS
  while true do
    values = show(values)
    if not values then return nil end
    local checked, problem = settings.check(values)
    if checked then
      remember(values)
      return checked
    end
    reaper.ShowMessageBox(problem, "TTSR", 0)
  end
end

return settings
