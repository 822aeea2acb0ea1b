-- @noindex
-- Paths and small files.

local files = {}

function files.is_windows() return reaper.GetOS():find("^Win") ~= nil end

function files.separator() return files.is_windows() and "\\" or "/" end

-- Joins names with the system's separator, whichever one they came with at their ends.
function files.join(first, ...)
  local path = first
  for _, name in ipairs({ ... }) do path = path:gsub("[/\\]$", "") .. files.separator() .. name end
  return path
end

-- Folder, name without its ending, ending with its dot. A backslash is a letter everywhere but on Windows.
function files.split(path)
  local name = path:match(files.is_windows() and "[^/\\]*$" or "[^/]*$")
  local folder = path:sub(1, #path - #name)
  local stem, ending = name:match("^(.+)(%.[^.]*)$")
  return folder:match("^(.+)[/\\]$") or folder, stem or name, ending or ""
end

-- The same for every spelling of one path, so that a file that is used twice is rendered once.
function files.key(path)
  if not files.is_windows() then return path end
  return (path:gsub("/", "\\"):lower())
end

function files.is_absolute(path)
  if files.is_windows() then return path:find("^%a:[/\\]") ~= nil or path:find("^[/\\][/\\]") ~= nil end
  return path:sub(1, 1) == "/"
end

-- A file's text, or nil where it cannot be read.
function files.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

-- Writes a file; nil and the reason where that fails.
function files.write(path, text)
  local file, reason = io.open(path, "wb")
  if not file then return nil, reason end
  local fine, why = file:write(text)
  local closed, later = file:close()
  if fine and closed then return true end
  return nil, why or later
end

-- Makes a folder and tries it out, since permissions promise more than they keep.
function files.can_write(folder)
  reaper.RecursiveCreateDirectory(folder, 0)
  local trial = files.join(folder, ".ttsr-" .. reaper.genGuid(""):gsub("[{}]", ""))
  if not files.write(trial, "") then return false end
  os.remove(trial)
  return true
end

-- Names of the files in a folder. REAPER remembers listings; -1 makes it look again.
function files.list(folder)
  reaper.EnumerateFiles(folder, -1)
  local names, i = {}, 0
  while true do
    local name = reaper.EnumerateFiles(folder, i)
    if not name or name == "" then return names end
    i = i + 1
    names[i] = name
  end
end

return files
