-- REAPER's functions about the project: items, takes, sources, markers, actions, undo. The first argument is the world.

local audio_length = require("audio_length")
local objects = require("stub_objects")

local project = {}

local function changing(world)
  if world.depth == 0 then error("the project is changed outside of an undo block", 0) end
end

function project.CountSelectedMediaItems(world)
  local count = 0
  for _, item in ipairs(world.project.items) do count = count + (item.selected and 1 or 0) end
  return count
end

function project.GetSelectedMediaItem(world, _, index)
  for _, item in ipairs(world.project.items) do
    if item.selected then
      if index == 0 then return item end
      index = index - 1
    end
  end
end

function project.SelectAllMediaItems(world, _, selected)
  for _, item in ipairs(world.project.items) do item.selected = selected end
end

function project.SetMediaItemSelected(_, item, selected) item.selected = selected end
function project.GetActiveTake(_, item) return item.takes[item.active] end
function project.CountTakes(_, item) return #item.takes end
function project.GetTake(_, item, index) return item.takes[index + 1] end
function project.TakeIsMIDI(_, take) return take.midi end
function project.GetMediaItemTake_Item(_, take) return take.item end
function project.GetMediaItemTake_Source(_, take) return take.source end
function project.GetTakeName(_, take) return take.name end
function project.GetTakeNumStretchMarkers(_, take) return #take.stretch end
function project.GetNumTakeMarkers(_, take) return #take.markers end
function project.GetMediaSourceParent(_, source) return source.parent end
function project.GetMediaSourceFileName(_, source) return source.file end
function project.GetMediaSourceType(_, source) return source.type end
function project.GetMediaSourceLength(_, source) return source.length, source.in_quarters or false end

function project.PCM_Source_GetSectionInfo(_, source)
  local section = source.section
  if not section then return false, 0, 0, false end
  return true, section.offset, section.length, section.reversed
end

function project.PCM_Source_CreateFromFile(_, path)
  if not audio_length(path) then return nil end
  return objects.source(path, path:find("%.flac$") and "FLAC" or "WAVE")
end

function project.PCM_Source_Destroy(world, source)
  for _, item in ipairs(world.project.items) do
    for _, take in ipairs(item.takes) do
      if take.source == source then error("a source that a take still plays is destroyed", 0) end
    end
  end
  source.alive = false
end

function project.GetMediaItemTakeByGUID(world, _, guid)
  for _, item in ipairs(world.project.items) do
    for _, take in ipairs(item.takes) do
      if take.guid == guid then return take end
    end
  end
end

local function value_of(values, name) return values[name] or error("no such value: " .. name, 0) end

function project.GetMediaItemInfo_Value(_, item, name) return value_of(item.values, name) end
function project.GetMediaItemTakeInfo_Value(_, take, name) return value_of(take.values, name) end

function project.SetMediaItemTakeInfo_Value(world, take, name, value)
  changing(world)
  value_of(take.values, name)
  take.values[name] = value
  return true
end

function project.SetMediaItemTake_Source(world, take, source)
  changing(world)
  take.source = source
  return true
end

function project.SetActiveTake(world, take)
  changing(world)
  for i, each in ipairs(take.item.takes) do
    if each == take then take.item.active = i end
  end
end

function project.GetSetMediaItemTakeInfo_String(world, take, name, text, setting)
  local extra = name:match("^P_EXT:(.+)")
  if setting then changing(world) end
  if name == "GUID" and not setting then return true, take.guid end
  if name == "P_NAME" then
    if setting then take.name = text end
    return true, take.name
  end
  if not extra then error("no such string: " .. name, 0) end
  if setting then take.ext[extra] = text end
  return take.ext[extra] ~= nil, take.ext[extra] or ""
end

function project.GetTakeMarker(_, take, index)
  local marker = take.markers[index + 1]
  if not marker then return -1, "" end
  return marker.position, marker.name, marker.color
end

-- Keeps markers sorted, as REAPER does, so that an index may mean another marker after a change.
function project.SetTakeMarker(world, take, index, name, position, color)
  changing(world)
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
  changing(world)
  for _, item in ipairs(world.project.items) do
    local take = item.takes[item.active]
    if item.selected and take and not item.locked then
      local copy = {}
      for key, value in pairs(take) do copy[key] = value end
      for _, key in ipairs({ "values", "markers", "stretch", "envelopes", "ext" }) do
        copy[key] = objects.deep(take[key])
      end
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

function project.Main_OnCommandEx(world, command, flag)
  if flag ~= 0 then error("flags are not known here", 0) end
  world.commands[#world.commands + 1] = command
  local known = Commands[command] or error("no such action: " .. command, 0)
  known(world)
end

function project.Undo_BeginBlock2(world)
  if world.depth == 0 then world.before = objects.snapshot(world.project) end
  world.depth = world.depth + 1
end

function project.Undo_EndBlock2(world, _, description, flags)
  if world.depth == 0 then error("an undo block ends that never began", 0) end
  world.depth = world.depth - 1
  if world.depth == 0 then
    table.insert(world.undo, { description = description, flags = flags, before = world.before })
  end
end

function project.PreventUIRefresh(world, count) world.frozen = world.frozen + count end
function project.UpdateArrange(world) world.redrawn = world.redrawn + 1 end
function project.UpdateItemInProject() end
function project.ColorToNative(_, r, g, b) return b << 16 | g << 8 | r end
function project.EnumProjects(world) return world.project, world.project.file end

function project.GetProjectPathEx(world) return world.project.path end

function project.ValidatePtr2(_, _, pointer, kind)
  return type(pointer) == "table" and pointer.alive and pointer.kind .. "*" == kind
end

return project
