-- Which functions REAPER has, and with which arguments: a call that is not of these is refused.

local checks = {}

-- name = { argument types; a '?' marks what may be left out }. As in REAPER's own documentation.
checks.REAPER = {
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

checks.GFX = {
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

local KINDS = {
  integer = function(value) return math.tointeger(value) ~= nil and type(value) == "number" end,
  project = function(value)
    return value == 0 or type(value) == "table" and value.kind == "ReaProject" and value.alive
  end,
  any = function(value) return value ~= nil end,
}
for _, kind in ipairs({ "string", "number", "boolean", "function" }) do
  KINDS[kind] = function(value) return type(value) == kind end
end
for _, kind in ipairs({ "MediaItem", "MediaItem_Take", "PCM_source" }) do
  KINDS[kind] = function(value) return type(value) == "table" and value.kind == kind and value.alive end
end

-- Refuses calls that REAPER would refuse, or understand in another way than they are meant.
function checks.checked(name, signature, call)
  return function(...)
    local count = select("#", ...)
    if count > #signature then error(("%s takes %d arguments, not %d"):format(name, #signature, count), 2) end
    for i, kind in ipairs(signature) do
      local value = select(i, ...)
      local optional = kind:sub(-1) == "?"
      if not (optional and value == nil) and not KINDS[kind:gsub("%?", "")](value) then
        error(("bad argument #%d to '%s' (%s expected)"):format(i, name, kind), 2)
      end
    end
    return call(...)
  end
end

return checks
