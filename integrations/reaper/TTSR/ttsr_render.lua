-- @noindex
-- The whole way from the selection to new takes, without ever keeping REAPER waiting.

local batches = require("ttsr_batches")
local files = require("ttsr_files")
local items = require("ttsr_items")
local job = require("ttsr_job")
local launch = require("ttsr_launch")
local takes = require("ttsr_takes")
local window = require("ttsr_window")

local render = {}

local TITLE = "TTSR"
local MOST_LINES = 12

local function say(message) reaper.ShowMessageBox(message, TITLE, 0) end

local function listed(lines)
  local shown = table.concat(lines, "\n", 1, math.min(#lines, MOST_LINES))
  return #lines > MOST_LINES and shown .. ("\n... and %d more"):format(#lines - MOST_LINES) or shown
end

local Run = {}
Run.__index = Run

-- How far all jobs together are: files that are done, and the share of the one at hand.
local function share_of(run)
  local of_all = math.max(0, math.min(1, run.job.progress.of_all))
  return (run.finished + of_all * #run.jobs[run.number].inputs) / run.total
end

local function clock(seconds)
  seconds = math.floor(seconds)
  return ("%d:%02d"):format(seconds // 60, seconds % 60)
end

local function show(run, now)
  local progress = run.job.progress
  local path = type(progress.input) == "string" and progress.input or ""
  local number = run.finished + (math.tointeger(progress.file) or 1)
  local _, stem, ending = files.split(path)
  local first = ("%d of %d: %s%s"):format(math.min(math.max(number, 1), run.total), run.total, stem, ending)
  local second = ("%s, %s"):format(run.cancelled and "cancelling" or progress.stage, clock(now - run.began))
  if run.job:is_stale(now) then
    second = ("no news for %s minutes: ttsr may be gone"):format(clock(now - run.job.news))
  end
  window.draw(first, second, share_of(run), run.cancelled and "Stop waiting" or "Cancel")
end

-- Starts the next job, if there is one. Nil and the reason where that fails.
function Run:start_next()
  self.number = self.number + 1
  local one = self.jobs[self.number]
  local started, reason = job.start(self.ttsr, one.inputs, one.output, self.settings, reaper.time_precise())
  self.job = started
  return started, reason
end

-- Takes in what a job brought: renders to be inserted, and a line for every file that has none.
function Run:collect(result)
  local inputs = self.jobs[self.number].inputs
  for i, file in ipairs(result.files) do
    local path = #result.files == #inputs and inputs[i] or file.input
    local rendered = takes.of_result(file)
    if rendered then
      self.results[files.key(path)] = rendered
    elseif file.status == "failed" then
      self.problems[#self.problems + 1] = file.reason
    end
  end
  if #result.files == 0 and result.status ~= "cancelled" then self.problems[#self.problems + 1] = result.message end
  self.finished = self.finished + #inputs
end

local function kept(results)
  local lines = {}
  for _, file in pairs(results) do
    for _, each in ipairs(file.top) do lines[#lines + 1] = each.output end
  end
  table.sort(lines)
  return #lines > 0 and "\n\nThese renders were finished and stay where they are:\n" .. listed(lines) or ""
end

function Run:insert()
  if not reaper.ValidatePtr2(0, self.project, "ReaProject*") then
    return say("The project was closed meanwhile; nothing was inserted." .. kept(self.results))
  end
  local count, problems = takes.add(self.project, self.targets, self.results, self.settings)
  table.move(problems, 1, #problems, #self.problems + 1, self.problems)
  if #self.problems > 0 then
    say(("New takes for %d of %d items. Not for these:\n\n%s"):format(
      count, #self.targets + #self.refused, listed(self.problems)))
  end
end

function Run:finish()
  self.over = true
  window.close()
  if self.cancelled then return say("Cancelled; the project is as it was." .. kept(self.results)) end
  self:insert()
end

-- What follows when a job is over: the next one, or the end.
function Run:go_on(result)
  self:collect(result)
  if self.cancelled or self.number == #self.jobs then return self:finish() end
  local started, reason = self:start_next()
  if started then return end
  self.problems[#self.problems + 1] = reason
  self:finish()
end

-- The first wish cancels, and the tool answers by ending. A second one, or a window that is gone, does not wait for it.
function Run:heed(wish, now)
  if not wish then return end
  local patient = not self.cancelled and wish ~= "closed" and not self.job:is_stale(now)
  self.cancelled = true
  self.job:cancel()
  if not patient then self:finish() end
end

function Run:cycle()
  local now = reaper.time_precise()
  self:heed(window.wish(), now)
  if self.over then return end
  local result = self.job:poll(now)
  if result then self:go_on(result) end
  if self.over then return end
  show(self, now)
  reaper.defer(function() self:cycle() end)
end

-- Ending the script, or REAPER, ends the render, too.
local function cancel_at_exit(run)
  reaper.atexit(function()
    if not run.over and run.job then run.job:cancel() end
  end)
end

local function begin(run)
  local started, reason = run:start_next()
  if not started then return say("ttsr could not be started: " .. reason) end
  window.open(TITLE .. ": " .. run.settings.preset)
  cancel_at_exit(run)
  run:cycle()
end

-- What there is to render, asked for before the user is asked for anything. Nil after telling what is missing.
function render.prepare()
  local ttsr = launch.find()
  if not ttsr then
    return say("ttsr was not found. Run the action ttsr_setup.lua (Set up and check) first.")
  end
  local project = reaper.EnumProjects(-1)
  local targets, refused = items.selected(project)
  if #targets == 0 and #refused == 0 then return say("Select the items to render first.") end
  if #targets == 0 then return say("Nothing here can be rendered:\n\n" .. listed(refused)) end
  return { ttsr = ttsr, project = project, targets = targets, refused = refused }
end

-- Renders what was prepared. Returns at once; the rest happens while REAPER goes on.
function render.start(prepared, settings)
  local paths = items.distinct_paths(prepared.targets)
  local jobs, reason = batches.plan(prepared.project, paths)
  if not jobs then return say("There is no place for renders: " .. reason) end
  local run = setmetatable({
    ttsr = prepared.ttsr,
    project = prepared.project,
    targets = prepared.targets,
    refused = prepared.refused,
    settings = settings,
    jobs = jobs,
    number = 0,
    finished = 0,
    total = #paths,
    results = {},
    problems = table.move(prepared.refused, 1, #prepared.refused, 1, {}),
    began = reaper.time_precise(),
  }, Run)
  begin(run)
end

return render
