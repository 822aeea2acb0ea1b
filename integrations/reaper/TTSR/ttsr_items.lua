-- @noindex
-- From selected items to files that are to be rendered.

local files = require("ttsr_files")

local items = {}

-- Where a take of ours keeps the GUID of the take that it was rendered from.
items.ORIGIN = "P_EXT:TTSR_ORIGIN"

local NEARLY = 1e-6 -- seconds; what arithmetic on offsets may lose

function items.guid(take)
  local _, guid = reaper.GetSetMediaItemTakeInfo_String(take, "GUID", "", false)
  return guid
end

function items.take_named(take)
  local name = reaper.GetTakeName(take)
  if name ~= "" then return name end
  return "an item without a name"
end

-- Whether a take shows nothing of its source beyond these seconds.
local function stays_within(take, length)
  local item = reaper.GetMediaItemTake_Item(take)
  local from = reaper.GetMediaItemTakeInfo_Value(take, "D_STARTOFFS")
  local rate = reaper.GetMediaItemTakeInfo_Value(take, "D_PLAYRATE")
  local to = from + reaper.GetMediaItemInfo_Value(item, "D_LENGTH") * rate
  return from >= -NEARLY and to <= length + NEARLY
end

-- The file behind a source and the seconds at which the source begins in it; nil and why not where there is none.
--
-- A section becomes a plain source with a later offset. That is the same sound only as long as the item does not show
-- the section's end and nothing else is tied to times within the section.
local function behind(take, source)
  local parent = reaper.GetMediaSourceParent(source)
  if not parent then return source, 0 end
  local is_section, offset, length, reversed = reaper.PCM_Source_GetSectionInfo(source)
  if not is_section or reaper.GetMediaSourceParent(parent) then
    return nil, "its source is nested; glue the item first"
  end
  if reversed then
    return nil, "it is reversed; turn that off (Item properties: Toggle take reverse), render, turn it on again"
  end
  if reaper.GetTakeNumStretchMarkers(take) > 0 then
    return nil, "it has a section of a file as its source, and stretch markers; glue the item first"
  end
  if not stays_within(take, length) then
    return nil, "it shows the end of a section of a file, or loops it; turn the section off or glue the item first"
  end
  return parent, offset
end

local NO_AUDIO = { RPP_PROJECT = "a project", CLICK = "a click track", LTC = "a timecode generator" }

-- What a take plays: path, source without wrappers and where the take's source begins in it. Nil and why not.
function items.inspect(take)
  if reaper.TakeIsMIDI(take) then return nil, "it is MIDI" end
  local source = reaper.GetMediaItemTake_Source(take)
  if not source then return nil, "it has no source" end
  local root, offset = behind(take, source)
  if not root then return nil, offset end
  local kind = NO_AUDIO[reaper.GetMediaSourceType(root)]
  if kind then return nil, "its source is " .. kind end
  local path = reaper.GetMediaSourceFileName(root)
  if path == "" then return nil, "there is no file behind it" end
  if not reaper.file_exists(path) then return nil, "its file is offline or missing: " .. path end
  return { path = path, root = root, offset = offset }
end

-- The take that a render is made for. Where the active one is a render of ours, that is the take it came from.
local function original(item)
  local take = reaper.GetActiveTake(item)
  if not take then return nil end
  local _, origin = reaper.GetSetMediaItemTakeInfo_String(take, items.ORIGIN, "", false)
  if origin == "" then return take end
  for i = 0, reaper.CountTakes(item) - 1 do
    local other = reaper.GetTake(item, i)
    if other and items.guid(other) == origin then return other end
  end
  return take
end

-- All selected items as {guid, name, path}, and a line for each that cannot be rendered.
function items.selected(project)
  local targets, refused = {}, {}
  for i = 0, reaper.CountSelectedMediaItems(project) - 1 do
    local take = original(reaper.GetSelectedMediaItem(project, i))
    if not take then
      refused[#refused + 1] = "an empty item: nothing to render"
    else
      local found, reason = items.inspect(take)
      local name = items.take_named(take)
      if found then
        targets[#targets + 1] = { guid = items.guid(take), name = name, path = found.path }
      else
        refused[#refused + 1] = name .. ": " .. reason
      end
    end
  end
  return targets, refused
end

-- Every file once, in the order of the items.
function items.distinct_paths(targets)
  local paths, seen = {}, {}
  for _, target in ipairs(targets) do
    local key = files.key(target.path)
    if not seen[key] then
      seen[key] = true
      paths[#paths + 1] = target.path
    end
  end
  return paths
end

return items
