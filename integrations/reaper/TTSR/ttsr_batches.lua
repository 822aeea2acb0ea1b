-- @noindex
-- Where renders go and what they are called, and which files can share a job.
--
-- All files of a job share one name template, so files of one name, from different folders, need different jobs.

local files = require("ttsr_files")

local batches = {}

local FOLDER = "ttsr"

-- Braces mean something in a template.
local function literal(path) return (path:gsub("[{}]", "%0%0")) end

-- The folder for the renders of a saved project, or nil and why not.
local function of_project(project)
  local folder = files.join(reaper.GetProjectPathEx(project, ""), FOLDER)
  if files.can_write(folder) then return folder end
  return nil, "cannot write to " .. folder
end

-- The folder for one file: beside the project, or beside the source while the project was never saved. Its template
-- begins with the second value.
local function place_for(path, saved, shared)
  if not saved then
    local beside = files.join((files.split(path)), FOLDER)
    if files.can_write(beside) then return beside, "{dir}" .. files.separator() .. FOLDER end
  end
  return shared, shared and literal(shared)
end

local function holds(listing, stem, tag)
  local start = (stem .. "_ttsr" .. tag):lower()
  for _, name in ipairs(listing) do
    local rest = name:lower():sub(1, #start) == start and name:sub(#start + 1)
    if rest and (rest:find("^%.") or rest:find("^_top%d")) then return true end
  end
  return false
end

-- The first of "", "_2", "_3" ... under which nothing is there yet: a take that exists must go on sounding as it does.
local function free_tag(batch, used)
  local listings = {}
  for _, each in ipairs(batch) do listings[each.folder] = listings[each.folder] or files.list(each.folder) end
  local number = 1
  while true do
    local tag = number > 1 and "_" .. number or ""
    local taken = used[tag]
    for _, each in ipairs(batch) do taken = taken or holds(listings[each.folder], each.stem, tag) end
    if not taken then
      used[tag] = true
      return tag
    end
    number = number + 1
  end
end

-- The batch that a file can join: same template, no file of the same name for the same folder.
local function batch_for(found, each)
  local name = (each.folder .. "\n" .. each.stem):lower()
  for _, batch in ipairs(found) do
    if batch.start == each.start and not batch.names[name] then
      batch.names[name] = true
      return batch
    end
  end
  found[#found + 1] = { start = each.start, names = { [name] = true } }
  return found[#found]
end

-- Jobs as {inputs, output}; nil and why not where nothing can be written anywhere.
function batches.plan(project, paths)
  local _, project_file = reaper.EnumProjects(-1)
  local saved = (project_file or "") ~= ""
  local shared, reason = of_project(project)
  local found, used, jobs = {}, {}, {}
  for _, path in ipairs(paths) do
    local folder, start = place_for(path, saved, shared)
    if not folder then return nil, reason end
    local _, stem = files.split(path)
    local batch = batch_for(found, { folder = folder, start = start, stem = stem })
    batch[#batch + 1] = { path = path, folder = folder, stem = stem }
  end
  for i, batch in ipairs(found) do
    local inputs = {}
    for k, each in ipairs(batch) do inputs[k] = each.path end
    local name = "{stem}_ttsr" .. free_tag(batch, used) .. "{ext}"
    jobs[i] = { inputs = inputs, output = batch.start .. files.separator() .. name }
  end
  return jobs
end

return batches
