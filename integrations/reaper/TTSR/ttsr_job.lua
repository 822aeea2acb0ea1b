-- @noindex
-- One job: written, started, watched, answered (docs/jobs.md of TTSR Studio).

local files = require("ttsr_files")
local json = require("ttsr_json")
local launch = require("ttsr_launch")

local job = {}
job.__index = job

local POLL = 0.4 -- seconds between two looks
local STARTS_WITHIN = 60
local STALE_AFTER = 300
local ENDINGS = { ".json", ".result", ".progress", ".cancel", ".done", ".started", ".part", ".errors", ".version",
  ".output", ".sh", ".py", ".bat", ".ended" }
local PREFIX = "ttsr-"

-- All files of a run begin with one name; none of another run does.
local function remove(base)
  for _, ending in ipairs(ENDINGS) do os.remove(base .. ending) end
end

-- Folder for all that passes between REAPER and the tool; nil and the reason where there can be none.
local function exchange()
  local folder = files.join(reaper.GetResourcePath(), "TTSR", "jobs")
  if files.can_write(folder) then return folder end
  return nil, "cannot write to " .. folder
end

-- Leftovers of runs that are over; they are kept until the next run, for whoever wants to know what happened.
local function sweep(folder)
  for _, name in ipairs(files.list(folder)) do
    local start = name:match("^(" .. PREFIX:gsub("%-", "%%-") .. ".*)%.ended$")
    if start then remove(files.join(folder, start)) end
  end
end

-- A name for a new run's files, of which none is there; nil and the reason.
function job.new_base()
  local folder, reason = exchange()
  if not folder then return nil, reason end
  sweep(folder)
  local base = files.join(folder, PREFIX .. reaper.genGuid(""):gsub("[{}]", ""))
  remove(base) -- what an earlier run left must not be taken for an answer
  return base
end

-- Starts `ttsr` on a job's inputs. Nil and the reason where that cannot be.
function job.start(ttsr, inputs, output, settings, now)
  local base, reason = job.new_base()
  if not base then return nil, reason end
  local written
  written, reason = files.write(base .. ".json", json.encode({
    job_version = "1",
    inputs = json.array(inputs),
    preset = settings.preset,
    options = settings.options,
    output = output,
    existing = "refuse",
    keep_top = settings.takes,
    app = true, -- one that runs has its engine loaded already
    result = base .. ".result",
    progress = base .. ".progress",
    cancel = base .. ".cancel",
    done = base .. ".done",
  }))
  if not written then return nil, reason end
  local started
  started, reason = launch.start(base, { { words = { ttsr, "render", "--job", base .. ".json" }, output = ".output" } })
  if not started then return nil, reason end
  local self = setmetatable({ base = base, ttsr = ttsr, began = now, looked = now, news = now, text = "" }, job)
  self.progress = { of_all = 0, file = 1, files = #inputs, input = inputs[1], stage = "starting" }
  return self
end

-- Asks the tool to stop; it answers by ending.
function job:cancel()
  files.write(self.base .. ".cancel", "")
end

-- Whether nothing has been heard for so long that the tool may be gone without its script having noticed.
function job:is_stale(now) return now - self.news > STALE_AFTER end

function job:read_progress(now)
  local text = files.read(self.base .. ".progress")
  if not text or text == self.text then return end
  self.text, self.news = text, now
  local progress = json.decode(text)
  if type(progress) == "table" and type(progress.of_all) == "number" and type(progress.stage) == "string" then
    self.progress = progress
  end
end

-- The last lines that the tool printed, for a message.
local function last_words(base)
  local lines = {}
  for line in (files.read(base .. ".errors") or ""):gmatch("[^\r\n]+") do lines[#lines + 1] = line end
  local from = math.max(1, #lines - 4)
  return #lines > 0 and "\n" .. table.concat(lines, "\n", from) or ""
end

local function failure(message) return { status = "failed", message = message, files = {} } end

-- What the done file and the result say together: the one is no good without the other.
function job:answer(code)
  local result, reason = json.decode(files.read(self.base .. ".result") or "")
  if type(result) ~= "table" or type(result.files) ~= "table" then
    return failure("The answer of ttsr cannot be read (" .. tostring(reason) .. ")." .. last_words(self.base))
  end
  if (code == "0") ~= (result.status == "done") then
    return failure(("ttsr ended with code %s, its result says %s."):format(code, tostring(result.status)))
  end
  return result
end

-- Looks whether the job is over. Nil while it is not; else its result, or one of our own that says what happened.
function job:poll(now)
  if now - self.looked < POLL then return nil end
  self.looked = now
  local ended = files.read(self.base .. ".ended") -- before the done file, which is written earlier
  local code = (files.read(self.base .. ".done") or ""):match("^%s*(%d+)")
  if code then return self:answer(code) end
  if ended then
    return failure(("ttsr ended without an answer (exit code %s). The action ttsr_setup.lua (Set up and check) may "
      .. "know why.%s"):format(ended:match("%d+") or "unknown", last_words(self.base)))
  end
  if now - self.began > STARTS_WITHIN and not reaper.file_exists(self.base .. ".started") then
    return failure("ttsr could not be started: " .. self.ttsr)
  end
  self:read_progress(now)
  return nil
end

return job
