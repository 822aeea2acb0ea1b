-- @noindex
-- From finished renders to takes: everything is looked at first, then all changes are one undo step.

local files = require("ttsr_files")
local items = require("ttsr_items")

local takes = {}

local DUPLICATE_ACTIVE_TAKE = 40639
local REBUILD_PEAKS = 40441
local ALL_STATES = -1
local LENGTHS_DIFFER = 0.1 -- seconds; decoders of MP3 disagree about the silence at its ends
local AMBER = { 230, 160, 30 }

-- Sources for all renders of a file, best first; nil and why not.
local function open_sources(top, root)
  local length, in_quarters = reaper.GetMediaSourceLength(root)
  local opened = {}
  for i, render in ipairs(top) do
    local source = reaper.file_exists(render.output) and reaper.PCM_Source_CreateFromFile(render.output)
    if not source then return nil, "REAPER cannot open " .. render.output, opened end
    opened[i] = source
    if not in_quarters and math.abs(reaper.GetMediaSourceLength(source) - length) > LENGTHS_DIFFER then
      return nil, render.output .. " is not as long as its source", opened
    end
  end
  return opened
end

-- What is to be done for one target, checked against the project as it is now; nil and why not.
local function plan_one(project, target, file)
  local take = reaper.GetMediaItemTakeByGUID(project, target.guid)
  if not take or not reaper.ValidatePtr2(project, take, "MediaItem_Take*") then
    return nil, "was deleted meanwhile"
  end
  local found, reason = items.inspect(take)
  if not found then return nil, reason end
  if files.key(found.path) ~= files.key(target.path) then return nil, "has another source by now" end
  local sources, problem, opened = open_sources(file.top, found.root)
  if not sources then
    for _, source in ipairs(opened) do reaper.PCM_Source_Destroy(source) end
    return nil, problem
  end
  return {
    take = take,
    item = reaper.GetMediaItemTake_Item(take),
    name = target.name,
    offset = found.offset,
    sources = sources,
    file = file,
  }
end

local function plan(project, targets, results)
  local plans, problems = {}, {}
  for _, target in ipairs(targets) do
    local file = results[files.key(target.path)]
    if file then
      local one, reason = plan_one(project, target, file)
      plans[#plans + 1] = one
      if not one then problems[#problems + 1] = target.name .. ": " .. reason end
    end
  end
  return plans, problems
end

local function guids(item)
  local known = {}
  for i = 0, reaper.CountTakes(item) - 1 do
    local take = reaper.GetTake(item, i)
    if take then known[items.guid(take)] = take end
  end
  return known
end

-- A copy of a take with all that belongs to it. Which take is new is told by GUIDs, not by its place in the list.
local function duplicate(project, item, take)
  local before = guids(item)
  reaper.SetActiveTake(take)
  reaper.Main_OnCommandEx(DUPLICATE_ACTIVE_TAKE, 0, project)
  for guid, each in pairs(guids(item)) do
    if not before[guid] then return each end
  end
  error("REAPER did not duplicate the take; is the item locked?", 0)
end

local function set_source(take, source)
  local before = reaper.GetMediaItemTake_Source(take)
  reaper.SetMediaItemTake_Source(take, source)
  if before then reaper.PCM_Source_Destroy(before) end -- the take's own copy, which nobody else would free
end

-- What was counted from the start of a section is counted from the start of the file from now on.
local function shift(take, seconds)
  if seconds == 0 then return end
  local offset = reaper.GetMediaItemTakeInfo_Value(take, "D_STARTOFFS")
  reaper.SetMediaItemTakeInfo_Value(take, "D_STARTOFFS", offset + seconds)
  -- From the last one on: a marker that moves must not pass its neighbours, which would renumber them.
  for i = reaper.GetNumTakeMarkers(take) - 1, 0, -1 do
    local position, name, color = reaper.GetTakeMarker(take, i)
    reaper.SetTakeMarker(take, i, name, position + seconds, color)
  end
end

-- Positions are seconds of the source, whatever the take's offset and rate; a render is as long as its source.
local function add_markers(take, uncertain)
  local color = reaper.ColorToNative(AMBER[1], AMBER[2], AMBER[3]) | 0x1000000
  for _, region in ipairs(uncertain) do reaper.SetTakeMarker(take, -1, region.name, region.position, color) end
end

local function take_name(name, settings, rank, count, score)
  local preset = settings.preset
  if preset:find("%.toml$") then preset = select(2, files.split(preset)) end
  local place = count > 1 and (" #%d"):format(rank) or ""
  local shown = type(score) == "number" and (" (%.2f)"):format(score) or ""
  return name .. " - TTSR " .. preset .. place .. shown
end

local function add_take(project, one, rank, settings)
  local render = one.file.top[rank]
  local take = duplicate(project, one.item, one.take)
  set_source(take, one.sources[rank])
  shift(take, one.offset)
  local name = take_name(one.name, settings, rank, #one.file.top, render.score)
  reaper.GetSetMediaItemTakeInfo_String(take, "P_NAME", name, true)
  reaper.GetSetMediaItemTakeInfo_String(take, items.ORIGIN, items.guid(one.take), true)
  if settings.markers then add_markers(take, one.file.uncertain) end
  return take
end

-- From the worst to the best, since a duplicate lands behind its original: the best comes to stand next to that.
local function add_takes(project, one, settings)
  reaper.SelectAllMediaItems(project, false)
  reaper.SetMediaItemSelected(one.item, true)
  local best
  for rank = #one.file.top, 1, -1 do best = add_take(project, one, rank, settings) end
  reaper.SetActiveTake(best)
  reaper.UpdateItemInProject(one.item)
end

local function selection(project)
  local chosen = {}
  for i = 1, reaper.CountSelectedMediaItems(project) do chosen[i] = reaper.GetSelectedMediaItem(project, i - 1) end
  return chosen
end

local function select_only(project, chosen)
  reaper.SelectAllMediaItems(project, false)
  for _, item in ipairs(chosen) do
    if reaper.ValidatePtr2(project, item, "MediaItem*") then reaper.SetMediaItemSelected(item, true) end
  end
end

local function carry_out(project, plans, settings)
  local problems, touched = {}, {}
  for _, one in ipairs(plans) do
    local fine, reason = pcall(add_takes, project, one, settings)
    touched[#touched + 1] = one.item
    if not fine then
      problems[#problems + 1] = one.name .. ": " .. tostring(reason)
      reaper.SetActiveTake(one.take)
    end
  end
  select_only(project, touched)
  reaper.Main_OnCommandEx(REBUILD_PEAKS, 0, project)
  return problems
end

-- Adds takes for all targets whose file is in `results` (by files.key). How many items got any, and what went wrong.
function takes.add(project, targets, results, settings)
  local plans, problems = plan(project, targets, results)
  if #plans == 0 then return 0, problems end
  local before = selection(project)
  reaper.Undo_BeginBlock2(project)
  reaper.PreventUIRefresh(1)
  local fine, found = pcall(carry_out, project, plans, settings)
  pcall(select_only, project, before)
  reaper.PreventUIRefresh(-1)
  reaper.Undo_EndBlock2(project, "TTSR: render selected items", ALL_STATES)
  reaper.UpdateArrange()
  if not fine then found = { tostring(found) } end
  table.move(found, 1, #found, #problems + 1, problems)
  return #plans - #found, problems
end

-- Uncertain stretches as markers: where they begin, and a name that says for how long and how much.
local function markers_of(uncertain)
  local markers = {}
  for _, region in ipairs(uncertain) do
    local stop = region.end_s or region.stop_s
    local length = type(stop) == "number" and (" %.1f s,"):format(stop - region.start_s) or ""
    markers[#markers + 1] = {
      position = region.start_s,
      name = ("uncertain%s %.1f dB"):format(length, region.mean_db),
    }
  end
  return markers
end

-- What a file's part of the result brings; nil where it was not rendered.
function takes.of_result(file)
  if file.status ~= "rendered" then return nil end
  return { top = file.top, uncertain = markers_of(file.uncertain) }
end

return takes
