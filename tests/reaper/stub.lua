-- A stand-in for REAPER: a project with items, takes and sources, its undo history, its dialogs and its deferred
-- functions. It is strict: what REAPER does not have, or would refuse, is an error here, and so is any change to the
-- project outside of an undo block, and waiting for a process.
--
--   local world = stub.new({ resources = "/tmp/x", project = "/tmp/p/song.rpp" })
--   local item = world:add_item({ source = stub.source("/tmp/p/a.wav"), length = 2, selected = true })
--   world:run("/.../ttsr_render_selected.lua")
--
-- `world.messages`, `.console`, `.undo`, `.commands` say what happened; `.answers` holds what the user types into
-- dialogs (a list of lists, or of false for Cancel); `.each_cycle` is called before every round of deferred functions;
-- `.step` is by how many seconds REAPER's clock goes on in one.

local lfs = require("lfs")
local system = require("system")
local audio_length = require("audio_length")

local stub = {}
local World = {}
World.__index = World

local SLEEP = 0.05 -- seconds that a cycle takes

-- Objects ---------------------------------------------------------------------------------------------------------

local function deep(value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for key, each in pairs(value) do copy[key] = deep(each) end
  return copy
end

function World:guid()
  self.guids = self.guids + 1
  return ("{%08X-0000-4000-8000-000000000000}"):format(self.guids)
end

local function object(kind, fields)
  fields.kind, fields.alive = kind, true
  return fields
end

local function file_source(path, kind)
  return object("PCM_source", { type = kind or "WAVE", file = path, length = audio_length(path) or 0 })
end

function stub.source(path) return file_source(path) end

function stub.section(parent, offset, length, reversed)
  return object("PCM_source", {
    type = "SECTION", file = "", parent = parent, length = length,
    section = { offset = offset, length = length, reversed = reversed or false },
  })
end

function World:add_take(item, fields)
  local take = object("MediaItem_Take", {
    guid = self:guid(), item = item, name = fields.name or "", source = fields.source, midi = fields.midi or false,
    values = { D_STARTOFFS = fields.offset or 0, D_PLAYRATE = fields.rate or 1, I_CHANMODE = 0, D_VOL = 1 },
    markers = {}, stretch = deep(fields.stretch or {}), envelopes = deep(fields.envelopes or {}), ext = {},
  })
  for key, value in pairs(fields.values or {}) do take.values[key] = value end
  item.takes[#item.takes + 1] = take
  return take
end

function World:add_item(fields)
  local item = object("MediaItem", {
    guid = self:guid(), project = self.project, takes = {}, active = 1, selected = fields.selected or false,
    locked = fields.locked or false,
    values = { D_POSITION = 0, D_LENGTH = fields.length or 1, B_LOOPSRC = fields.loop and 1 or 0, D_FADEINLEN = 0.01 },
  })
  table.insert(self.project.items, item)
  if fields.source or fields.midi then self:add_take(item, fields) end
  return item
end

function World:delete(item)
  item.alive = false
  for _, take in ipairs(item.takes) do take.alive = false end
  for i, each in ipairs(self.project.items) do
    if each == item then return table.remove(self.project.items, i) end
  end
end

-- A copy of all that an undo step brings back.
local function snapshot(project)
  local state = {}
  for i, item in ipairs(project.items) do
    local takes = {}
    for k, take in ipairs(item.takes) do
      takes[k] = {
        take = take,
        fields = { name = take.name, source = take.source },
        copies = deep({ values = take.values, markers = take.markers, stretch = take.stretch, ext = take.ext }),
      }
    end
    state[i] = { item = item, takes = takes, active = item.active, values = deep(item.values) }
  end
  return state
end

-- Does what Ctrl+Z does.
function World:undo_once()
  local step = table.remove(self.undo)
  self.project.items = {}
  for i, saved in ipairs(step.before) do
    local item = saved.item
    self.project.items[i], item.takes, item.active, item.values = item, {}, saved.active, saved.values
    for k, each in ipairs(saved.takes) do
      item.takes[k] = each.take
      for key, value in pairs(each.fields) do each.take[key] = value end
      for key, value in pairs(each.copies) do each.take[key] = value end
    end
  end
end

-- The API ---------------------------------------------------------------------------------------------------------

-- name = { argument types; a '?' marks what may be left out }. As in REAPER's own documentation.
local SIGNATURES = {
  APIExists = { "string" },
  ColorToNative = { "integer", "integer", "integer" },
  CountSelectedMediaItems = { "project" },
  CountTakes = { "MediaItem" },
  EnumProjects = { "integer" },
  EnumerateFiles = { "string", "integer" },
  ExecProcess = { "string", "integer" },
  GetActiveTake = { "MediaItem" },
  GetAppVersion = {},
  GetExtState = { "string", "string" },
  GetMediaItemInfo_Value = { "MediaItem", "string" },
  GetMediaItemTakeByGUID = { "project", "string" },
  GetMediaItemTakeInfo_Value = { "MediaItem_Take", "string" },
  GetMediaItemTake_Item = { "MediaItem_Take" },
  GetMediaItemTake_Source = { "MediaItem_Take" },
  GetMediaSourceFileName = { "PCM_source", "string?" },
  GetMediaSourceLength = { "PCM_source" },
  GetMediaSourceParent = { "PCM_source" },
  GetMediaSourceType = { "PCM_source", "string?" },
  GetNumTakeMarkers = { "MediaItem_Take" },
  GetOS = {},
  GetProjectPathEx = { "project", "string?" },
  GetResourcePath = {},
  GetSelectedMediaItem = { "project", "integer" },
  GetSetMediaItemTakeInfo_String = { "MediaItem_Take", "string", "string", "boolean" },
  GetTake = { "MediaItem", "integer" },
  GetTakeMarker = { "MediaItem_Take", "integer" },
  GetTakeName = { "MediaItem_Take" },
  GetTakeNumStretchMarkers = { "MediaItem_Take" },
  GetUserInputs = { "string", "integer", "string", "string" },
  Main_OnCommandEx = { "integer", "integer", "project" },
  PCM_Source_CreateFromFile = { "string" },
  PCM_Source_Destroy = { "PCM_source" },
  PCM_Source_GetSectionInfo = { "PCM_source" },
  PreventUIRefresh = { "integer" },
  RecursiveCreateDirectory = { "string", "integer" },
  SelectAllMediaItems = { "project", "boolean" },
  SetActiveTake = { "MediaItem_Take" },
  SetExtState = { "string", "string", "string", "boolean" },
  SetMediaItemSelected = { "MediaItem", "boolean" },
  SetMediaItemTakeInfo_Value = { "MediaItem_Take", "string", "number" },
  SetMediaItemTake_Source = { "MediaItem_Take", "PCM_source" },
  SetTakeMarker = { "MediaItem_Take", "integer", "string", "number?", "integer?" },
  ShowConsoleMsg = { "string" },
  ShowMessageBox = { "string", "string", "integer" },
  TakeIsMIDI = { "MediaItem_Take" },
  Undo_BeginBlock2 = { "project" },
  Undo_EndBlock2 = { "project", "string", "integer" },
  UpdateArrange = {},
  UpdateItemInProject = { "MediaItem" },
  ValidatePtr2 = { "project", "any", "string" },
  atexit = { "function" },
  defer = { "function" },
  file_exists = { "string" },
  genGuid = { "string?" },
  get_action_context = {},
  time_precise = {},
}

local GFX = {
  drawstr = { "string" },
  getchar = {},
  init = { "string", "number", "number" },
  measurestr = { "string" },
  quit = {},
  rect = { "number", "number", "number", "number", "integer" },
  set = { "number", "number", "number", "number" },
  setfont = { "integer", "string", "integer" },
  update = {},
}

local CHECKS = {
  integer = function(value) return math.tointeger(value) ~= nil and type(value) == "number" end,
  project = function(value)
    return value == 0 or type(value) == "table" and value.kind == "ReaProject" and value.alive
  end,
  any = function(value) return value ~= nil end,
}
for _, kind in ipairs({ "string", "number", "boolean", "function" }) do
  CHECKS[kind] = function(value) return type(value) == kind end
end
for _, kind in ipairs({ "MediaItem", "MediaItem_Take", "PCM_source" }) do
  CHECKS[kind] = function(value) return type(value) == "table" and value.kind == kind and value.alive end
end

-- Refuses calls that REAPER would refuse, or understand in another way than they are meant.
local function checked(name, signature, call)
  return function(...)
    local count = select("#", ...)
    if count > #signature then error(("%s takes %d arguments, not %d"):format(name, #signature, count), 2) end
    for i, kind in ipairs(signature) do
      local value = select(i, ...)
      local optional = kind:sub(-1) == "?"
      if not (optional and value == nil) and not CHECKS[kind:gsub("%?", "")](value) then
        error(("bad argument #%d to '%s' (%s expected)"):format(i, name, kind), 2)
      end
    end
    return call(...)
  end
end

local Api = {}

function World:changing()
  if self.depth == 0 then error("the project is changed outside of an undo block", 3) end
end

function Api.CountSelectedMediaItems(world)
  local count = 0
  for _, item in ipairs(world.project.items) do count = count + (item.selected and 1 or 0) end
  return count
end

function Api.GetSelectedMediaItem(world, _, index)
  for _, item in ipairs(world.project.items) do
    if item.selected then
      if index == 0 then return item end
      index = index - 1
    end
  end
end

function Api.SelectAllMediaItems(world, _, selected)
  for _, item in ipairs(world.project.items) do item.selected = selected end
end

function Api.SetMediaItemSelected(_, item, selected) item.selected = selected end
function Api.GetActiveTake(_, item) return item.takes[item.active] end
function Api.CountTakes(_, item) return #item.takes end
function Api.GetTake(_, item, index) return item.takes[index + 1] end
function Api.TakeIsMIDI(_, take) return take.midi end
function Api.GetMediaItemTake_Item(_, take) return take.item end
function Api.GetMediaItemTake_Source(_, take) return take.source end
function Api.GetTakeName(_, take) return take.name end
function Api.GetTakeNumStretchMarkers(_, take) return #take.stretch end
function Api.GetNumTakeMarkers(_, take) return #take.markers end
function Api.GetMediaSourceParent(_, source) return source.parent end
function Api.GetMediaSourceFileName(_, source) return source.file end
function Api.GetMediaSourceType(_, source) return source.type end
function Api.GetMediaSourceLength(_, source) return source.length, source.in_quarters or false end

function Api.PCM_Source_GetSectionInfo(_, source)
  local section = source.section
  if not section then return false, 0, 0, false end
  return true, section.offset, section.length, section.reversed
end

function Api.PCM_Source_CreateFromFile(_, path)
  if not audio_length(path) then return nil end
  return file_source(path, path:find("%.flac$") and "FLAC" or "WAVE")
end

function Api.PCM_Source_Destroy(world, source)
  for _, item in ipairs(world.project.items) do
    for _, take in ipairs(item.takes) do
      if take.source == source then error("a source that a take still plays is destroyed", 0) end
    end
  end
  source.alive = false
end

function Api.GetMediaItemTakeByGUID(world, _, guid)
  for _, item in ipairs(world.project.items) do
    for _, take in ipairs(item.takes) do
      if take.guid == guid then return take end
    end
  end
end

local function value_of(values, name) return values[name] or error("no such value: " .. name, 0) end

function Api.GetMediaItemInfo_Value(_, item, name) return value_of(item.values, name) end
function Api.GetMediaItemTakeInfo_Value(_, take, name) return value_of(take.values, name) end

function Api.SetMediaItemTakeInfo_Value(world, take, name, value)
  world:changing()
  value_of(take.values, name)
  take.values[name] = value
  return true
end

function Api.SetMediaItemTake_Source(world, take, source)
  world:changing()
  take.source = source
  return true
end

function Api.SetActiveTake(world, take)
  world:changing()
  for i, each in ipairs(take.item.takes) do
    if each == take then take.item.active = i end
  end
end

function Api.GetSetMediaItemTakeInfo_String(world, take, name, text, setting)
  local extra = name:match("^P_EXT:(.+)")
  if setting then world:changing() end
  if name == "GUID" and not setting then return true, take.guid end
  if name == "P_NAME" then
    if setting then take.name = text end
    return true, take.name
  end
  if not extra then error("no such string: " .. name, 0) end
  if setting then take.ext[extra] = text end
  return take.ext[extra] ~= nil, take.ext[extra] or ""
end

function Api.GetTakeMarker(_, take, index)
  local marker = take.markers[index + 1]
  if not marker then return -1, "" end
  return marker.position, marker.name, marker.color
end

-- Keeps markers sorted, as REAPER does, so that an index may mean another marker after a change.
function Api.SetTakeMarker(world, take, index, name, position, color)
  world:changing()
  local marker = take.markers[index + 1]
  if index < 0 then
    if not position then error("a new take marker needs a position", 0) end
    marker = { position = position, name = name, color = color or 0 }
    table.insert(take.markers, marker)
  else
    marker.name, marker.position, marker.color = name, position or marker.position, color or marker.color
  end
  table.sort(take.markers, function(a, b) return a.position < b.position end)
  for i, each in ipairs(take.markers) do
    if each == marker then return i - 1 end
  end
end

local Commands = {}

-- Take: Duplicate active take; the copy becomes the active one.
Commands[40639] = function(world)
  world:changing()
  for _, item in ipairs(world.project.items) do
    local take = item.takes[item.active]
    if item.selected and take and not item.locked then
      local copy = {}
      for key, value in pairs(take) do copy[key] = value end
      for _, key in ipairs({ "values", "markers", "stretch", "envelopes", "ext" }) do copy[key] = deep(take[key]) end
      copy.source = take.source and {}
      for key, value in pairs(take.source or {}) do copy.source[key] = value end
      copy.guid = world:guid()
      item.active = item.active + 1
      table.insert(item.takes, item.active, copy)
    end
  end
end

-- Peaks: Rebuild peaks for selected items.
Commands[40441] = function(world)
  for _, item in ipairs(world.project.items) do
    if item.selected then world.peaks[item] = true end
  end
end

function Api.Main_OnCommandEx(world, command, flag)
  if flag ~= 0 then error("flags are not known here", 0) end
  world.commands[#world.commands + 1] = command
  local known = Commands[command] or error("no such action: " .. command, 0)
  known(world)
end

function Api.Undo_BeginBlock2(world)
  if world.depth == 0 then world.before = snapshot(world.project) end
  world.depth = world.depth + 1
end

function Api.Undo_EndBlock2(world, _, description, flags)
  if world.depth == 0 then error("an undo block ends that never began", 0) end
  world.depth = world.depth - 1
  if world.depth == 0 then
    table.insert(world.undo, { description = description, flags = flags, before = world.before })
  end
end

function Api.PreventUIRefresh(world, count) world.frozen = world.frozen + count end
function Api.UpdateArrange(world) world.redrawn = world.redrawn + 1 end
function Api.UpdateItemInProject() end
function Api.ColorToNative(_, r, g, b) return b << 16 | g << 8 | r end
function Api.APIExists(_, name) return SIGNATURES[name] ~= nil end
function Api.GetAppVersion() return "7.22/linux-x86_64" end
function Api.GetOS(world) return world.os end
function Api.GetResourcePath(world) return world.resources end
function Api.genGuid(world) return world:guid() end
function Api.time_precise(world) return world.now end
function Api.EnumProjects(world) return world.project, world.project.file end
function Api.get_action_context(world) return false, world.script, 0, 1, -1, -1, -1 end

function Api.GetProjectPathEx(world) return world.project.path end

function Api.ValidatePtr2(_, _, pointer, kind)
  return type(pointer) == "table" and pointer.alive and pointer.kind .. "*" == kind
end

function Api.file_exists(_, path) return lfs.attributes(path, "mode") == "file" end

function Api.RecursiveCreateDirectory(_, path)
  local made = ""
  for name in path:gmatch("[^/]+") do
    made = made .. "/" .. name
    lfs.mkdir(made)
  end
  return lfs.attributes(path, "mode") == "directory" and 1 or 0
end

-- Like REAPER's, this remembers a folder until it is asked for index -1.
function Api.EnumerateFiles(world, path, index)
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

function Api.GetExtState(world, section, key) return world.ext[section .. "\0" .. key] or "" end

function Api.SetExtState(world, section, key, value, persist)
  if not persist then error("a setting that would be forgotten", 0) end
  world.ext[section .. "\0" .. key] = value
end

-- Splits the captions as REAPER does: at commas, with extra fields for the separator and the width.
function Api.GetUserInputs(world, title, count, captions, values)
  local separator, names = ",", {}
  for caption in (captions .. ","):gmatch("([^,]*),") do
    local extra = caption:match("^separator=(.)$")
    if extra then separator = extra end
    if not caption:find("^%a+=") then names[#names + 1] = caption end
  end
  if #names ~= count or count > 16 then error("captions and fields do not agree", 0) end
  local given = {}
  for value in (values .. separator):gmatch("([^" .. separator .. "]*)" .. separator) do given[#given + 1] = value end
  world.dialogs[#world.dialogs + 1] = { title = title, names = names, values = deep(given) }
  local answer = table.remove(world.answers, 1)
  if answer == nil then error("nobody expected this dialog: " .. title, 0) end
  if not answer then return false, values end
  for i = 1, count do given[i] = answer[i] or given[i] end
  return true, table.concat(given, separator, 1, count)
end

function Api.ShowMessageBox(world, message, _, kind)
  if kind ~= 0 then error("only plain boxes are known here", 0) end
  world.messages[#world.messages + 1] = message
  return 1
end

function Api.ShowConsoleMsg(world, text) world.console = world.console .. text end

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

function Api.ExecProcess(world, command, timeout)
  if timeout ~= -2 and timeout ~= -1 then error("REAPER would wait for this process", 0) end
  world.processes[#world.processes + 1] = command
  if not world.launches then return nil end
  local words = split_command(command)
  for i, word in ipairs(words) do words[i] = shell_word(word) end
  os.execute(table.concat(words, " ") .. " >/dev/null 2>&1 </dev/null &")
  return ""
end

function Api.defer(world, call)
  world.deferred[#world.deferred + 1] = call
  return true
end

function Api.atexit(world, call) world.exits[#world.exits + 1] = call end

-- gfx -------------------------------------------------------------------------------------------------------------

local Gfx = {}

function Gfx.init(world) world.window_open = true end
function Gfx.quit(world) world.window_open = false end
function Gfx.update() end
function Gfx.set() end
function Gfx.rect() end
function Gfx.setfont() end
function Gfx.measurestr(_, text) return utf8.len(text) * 8, 15 end
function Gfx.drawstr(world, text) world.drawn[text] = true end
function Gfx.getchar(world)
  if not world.window_open then return -1 end
  return table.remove(world.keys, 1) or 0
end

local function gfx_table(world)
  local variables = { x = 0, y = 0, w = 460, h = 120, mouse_x = 0, mouse_y = 0, mouse_cap = 0 }
  local calls = {}
  for name, signature in pairs(GFX) do
    calls[name] = checked("gfx." .. name, signature, function(...) return Gfx[name](world, ...) end)
  end
  return setmetatable({}, {
    __index = function(_, name)
      local found = calls[name] or variables[name]
      if found == nil then error("gfx has no " .. name, 2) end
      return found
    end,
    __newindex = function(_, name, value)
      if type(variables[name]) ~= "number" then error("gfx has no variable " .. name, 2) end
      variables[name] = value
    end,
  })
end

local function reaper_table(world)
  local calls = {}
  for name, signature in pairs(SIGNATURES) do
    local call = Api[name] or error("the stub lacks " .. name)
    calls[name] = checked(name, signature, function(...) return call(world, ...) end)
  end
  return setmetatable(calls, { __index = function(_, name) error("REAPER has no " .. tostring(name), 2) end })
end

-- Running ---------------------------------------------------------------------------------------------------------

-- A new REAPER. Options: resources (its own folder), project (a file, or nil: never saved), media (where it records),
-- os, ext (settings kept from another world), launches (false: processes never come up).
function stub.new(options)
  local world = setmetatable({
    os = options.os or "Other", resources = options.resources, ext = options.ext or {}, guids = 0, now = 1000, step = 0.1,
    launches = options.launches ~= false, messages = {}, console = "", dialogs = {}, answers = {}, undo = {},
    commands = {}, peaks = {}, processes = {}, deferred = {}, exits = {}, drawn = {}, keys = {}, listings = {},
    depth = 0, frozen = 0, redrawn = 0, cycles = 0,
  }, World)
  world.project = object("ReaProject", { file = options.project or "", path = options.media, items = {} })
  world.gfx, world.reaper = gfx_table(world), reaper_table(world)
  return world
end

-- What a script of REAPER's sees: a Lua state of its own, with nothing in it that another script left.
local function environment(world)
  local loaded, env = {}, nil
  local package_copy = { path = package.path, config = package.config }
  local function require_here(name)
    if loaded[name] == nil then
      local path = assert(package.searchpath(name, package_copy.path))
      loaded[name] = assert(loadfile(path, "t", env))()
    end
    return loaded[name]
  end
  env = setmetatable({ reaper = world.reaper, gfx = world.gfx, package = package_copy, require = require_here }, {
    __index = _G,
    __newindex = function(_, name) error("a global variable is made: " .. name, 2) end,
  })
  return env
end

-- One of the scripts' modules, as a script gets it.
function World:module(folder, name)
  local env = environment(self)
  env.package.path = folder .. "/?.lua"
  return env.require(name)
end

-- One round of REAPER's user interface: deferred functions run once, time goes by.
function World:cycle()
  local calls = self.deferred
  self.deferred = {}
  self.cycles = self.cycles + 1
  if self.each_cycle then self.each_cycle(self) end
  for _, call in ipairs(calls) do call() end
  system.sleep(SLEEP)
  self.now = self.now + self.step
end

-- Runs a script until it has nothing left to do. Fails after `limit` seconds (default 400).
function World:run(script, limit)
  self.script, self.deferred, self.exits = script, {}, {}
  assert(loadfile(script, "t", environment(self)))()
  local stop = os.time() + (limit or 400)
  while #self.deferred > 0 do
    if os.time() > stop then error("the script never ends; said so far: " .. table.concat(self.messages, " | ")) end
    self:cycle()
  end
  self:quit()
end

-- Ends the script, as REAPER does when it quits or the user terminates it.
function World:quit()
  self.deferred = {}
  for _, call in ipairs(self.exits) do call() end
  self.exits = {}
  assert(self.depth == 0, "an undo block was left open")
  assert(self.frozen == 0, "the user interface was left frozen")
end

return stub
