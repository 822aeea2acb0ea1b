-- REAPER's functions about everything else: files, settings, dialogs, processes, time. The first argument is the world.

local lfs = require("lfs")
local objects = require("stub_objects")

local system = {}

function system.GetAppVersion() return "7.22/linux-x86_64" end
function system.GetOS(world) return world.os end
function system.GetResourcePath(world) return world.resources end
function system.genGuid(world) return world:guid() end
function system.time_precise(world) return world.now end
function system.get_action_context(world) return false, world.script, 0, 1, -1, -1, -1 end

function system.file_exists(_, path) return lfs.attributes(path, "mode") == "file" end

function system.RecursiveCreateDirectory(_, path)
  local made = ""
  for name in path:gmatch("[^/]+") do
    made = made .. "/" .. name
    lfs.mkdir(made)
  end
  return lfs.attributes(path, "mode") == "directory" and 1 or 0
end

-- Like REAPER's, this remembers a folder until it is asked for index -1.
function system.EnumerateFiles(world, path, index)
  if index == -1 or not world.listings[path] then
    local names = {}
    if lfs.attributes(path, "mode") == "directory" then
      for name in lfs.dir(path) do
        if lfs.attributes(path .. "/" .. name, "mode") == "file" then names[#names + 1] = name end
      end
    end
    world.listings[path] = names
  end
  return world.listings[path][index + 1]
end

function system.GetExtState(world, section, key) return world.ext[section .. "\0" .. key] or "" end

function system.SetExtState(world, section, key, value, persist)
  if not persist then error("a setting that would be forgotten", 0) end
  world.ext[section .. "\0" .. key] = value
end

-- Splits the captions as REAPER does: at commas, with extra fields for the separator and the width.
function system.GetUserInputs(world, title, count, captions, values)
  local separator, names = ",", {}
  for caption in (captions .. ","):gmatch("([^,]*),") do
    local extra = caption:match("^separator=(.)$")
    if extra then separator = extra end
    if not caption:find("^%a+=") then names[#names + 1] = caption end
  end
  if #names ~= count or count > 16 then error("captions and fields do not agree", 0) end
  local given = {}
  for value in (values .. separator):gmatch("([^" .. separator .. "]*)" .. separator) do given[#given + 1] = value end
  world.dialogs[#world.dialogs + 1] = { title = title, names = names, values = objects.deep(given) }
  local answer = table.remove(world.answers, 1)
  if answer == nil then error("nobody expected this dialog: " .. title, 0) end
  if not answer then return false, values end
  for i = 1, count do given[i] = answer[i] or given[i] end
  return true, table.concat(given, separator, 1, count)
end

function system.ShowMessageBox(world, message, _, kind)
  if kind ~= 0 then error("only plain boxes are known here", 0) end
  world.messages[#world.messages + 1] = message
  return 1
end

function system.ShowConsoleMsg(world, text) world.console = world.console .. text end

-- As REAPER splits a command line for systems without CreateProcess: at spaces outside of quotes, no escapes.
local function split_command(text)
  local words, at = {}, 1
  while true do
    at = text:find("%S", at)
    if not at then return words end
    local mark = text:sub(at, at):match("[\"'`]")
    local stop = text:find(mark or " ", at + 1, true) or #text + 1
    words[#words + 1] = text:sub(mark and at + 1 or at, stop - 1)
    at = stop + 1
  end
end

local function shell_word(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

function system.ExecProcess(world, command, timeout)
  if timeout ~= -2 and timeout ~= -1 then error("REAPER would wait for this process", 0) end
  world.processes[#world.processes + 1] = command
  if not world.launches then return nil end
  local words = split_command(command)
  for i, word in ipairs(words) do words[i] = shell_word(word) end
  os.execute(table.concat(words, " ") .. " >/dev/null 2>&1 </dev/null &")
  return ""
end

function system.defer(world, call)
  world.deferred[#world.deferred + 1] = call
  return true
end

function system.atexit(world, call) world.exits[#world.exits + 1] = call end

return system
