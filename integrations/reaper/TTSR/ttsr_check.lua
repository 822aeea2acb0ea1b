-- @noindex
-- Set up and check: where ttsr is, its version, and what `ttsr doctor` finds.

local files = require("ttsr_files")
local job = require("ttsr_job")
local json = require("ttsr_json")
local launch = require("ttsr_launch")
local settings = require("ttsr_settings")
local window = require("ttsr_window")

local check = { VERSION = "0.1.0" }

local TITLE = "TTSR: set up and check"
local POLL = 0.4
local TOO_LONG = 300
local EXAMPLES = { [true] = "C:\\ttsr-studio\\.venv\\Scripts\\ttsr.exe", [false] = "/home/me/ttsr/.venv/bin/ttsr" }

local function say(message) reaper.ShowMessageBox(message, TITLE, 0) end

-- Asks for the path until there is a file; nil when the user turns away.
local function ask_path(path)
  while true do
    local agreed, answer =
      reaper.GetUserInputs(TITLE, 1, "Path of ttsr,extrawidth=320,separator=\n", path)
    if not agreed then return nil end
    path = answer:match('^%s*"?(.-)"?%s*$')
    if files.is_absolute(path) and reaper.file_exists(path) then return path end
    say("There is no such file. The whole path is needed, for instance\n" .. EXAMPLES[files.is_windows()]
      .. "\n\nTo install TTSR Studio, see its README: two commands in a terminal.")
  end
end

local function doctor_lines(text)
  local rows = json.decode(text)
  if type(rows) ~= "table" or #rows == 0 then return nil end
  local lines = {}
  for i, row in ipairs(rows) do
    local state = row.ok and "ok     " or "missing"
    lines[i] = ("%s  %s %s: %s"):format(state, tostring(row.kind), tostring(row.name), tostring(row.detail))
  end
  return lines
end

-- What was found out, for REAPER's console, which can hold it all; the short form goes into a box.
local function report(ttsr, base)
  local version = (files.read(base .. ".version") or ""):match("%S[^\r\n]*")
  local lines = doctor_lines(files.read(base .. ".output") or "")
  if not version or not lines then
    return say("This is not a ttsr that works:\n" .. ttsr .. "\n\n" .. (files.read(base .. ".errors") or ""):sub(-800))
  end
  settings.set("ttsr", ttsr)
  local works = files.read(base .. ".ended"):match("%d+") == "0"
  local head = ("%s\n%s\nREAPER scripts %s, REAPER %s\n"):format(ttsr, version, check.VERSION, reaper.GetAppVersion())
  reaper.ShowConsoleMsg(head .. "\n" .. table.concat(lines, "\n") .. "\n")
  say(head .. (works and "\nReady to render." or "\nNothing can be rendered yet.") .. " The console has the details.")
end

local function wait_for_end(ttsr, base)
  local began, looked, ready = reaper.time_precise(), 0, false
  local function cycle()
    local now = reaper.time_precise()
    if now - looked >= POLL then ready, looked = reaper.file_exists(base .. ".ended"), now end
    local stop = window.wish() or now - began > TOO_LONG
    if ready or stop then window.close() end
    if ready then return report(ttsr, base) end
    if now - began > TOO_LONG then return say("No answer within five minutes from\n" .. ttsr) end
    if stop then return end
    window.draw("Asking ttsr how it is ...", ttsr, math.min(1, (now - began) / 20), "Cancel")
    reaper.defer(cycle)
  end
  cycle()
end

function check.run()
  local ttsr = ask_path(launch.find() or settings.get("ttsr"))
  if not ttsr then return end
  local base, reason = job.new_base()
  local started = base
  if base then
    started, reason = launch.start(base, {
      { words = { ttsr, "--version" }, output = ".version" },
      { words = { ttsr, "doctor", "--json" }, output = ".output" },
    })
  end
  if not started then return say("ttsr could not be started: " .. reason) end
  window.open(TITLE)
  wait_for_end(ttsr, base)
end

return check
