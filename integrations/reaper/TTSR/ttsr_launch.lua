-- @noindex
-- Finds `ttsr` and starts it: without waiting, without a console, without trusting anybody's quoting.
--
-- REAPER starts only a tiny script of ours, whose path is the whole command line. The script starts the tool, keeps
-- what it prints, and leaves a file when it ends, however it ends: that is how a tool that died is noticed.

local files = require("ttsr_files")
local json = require("ttsr_json")
local settings = require("ttsr_settings")

local launch = {}

-- Where installers put commands; programs with windows rarely see the PATH of a terminal.
local function usual_folders()
  local home = os.getenv("HOME") or os.getenv("USERPROFILE") or ""
  local inside = {
    { "ttsr-studio", ".venv" },
    { ".local", "share", "pipx", "venvs", "ttsr-studio" },
    { ".local", "pipx", "venvs", "ttsr-studio" },
    { "pipx", "venvs", "ttsr-studio" },
    { ".local", "share", "uv", "tools", "ttsr-studio" },
    { "AppData", "Roaming", "uv", "tools", "ttsr-studio" },
  }
  local folders = {}
  for _, names in ipairs(inside) do
    names[#names + 1] = files.is_windows() and "Scripts" or "bin"
    folders[#folders + 1] = files.join(home, table.unpack(names))
  end
  folders[#folders + 1] = files.join(home, ".local", "bin")
  if not files.is_windows() then
    folders[#folders + 1] = "/opt/homebrew/bin"
    folders[#folders + 1] = "/usr/local/bin"
    folders[#folders + 1] = "/usr/bin"
  end
  return folders
end

local function path_folders()
  local folders = {}
  local pattern = files.is_windows() and "[^;]+" or "[^:]+"
  for folder in (os.getenv("PATH") or ""):gmatch(pattern) do folders[#folders + 1] = folder end
  return folders
end

-- The path of `ttsr`: the one that was set up, else the first that is found, else nil.
function launch.find()
  local known = settings.get("ttsr")
  if known ~= "" and reaper.file_exists(known) then return known end
  local name = files.is_windows() and "ttsr.exe" or "ttsr"
  for _, folders in ipairs({ path_folders(), usual_folders() }) do
    for _, folder in ipairs(folders) do
      local path = files.join(folder, name)
      if reaper.file_exists(path) then return path end
    end
  end
  return nil
end

-- REAPER splits a command line at spaces outside of quotes of any kind and knows no escapes.
local function quoted(path)
  local marks = files.is_windows() and { '"' } or { '"', "'", "`" }
  for _, mark in ipairs(marks) do
    if not path:find(mark, 1, true) then return mark .. path .. mark end
  end
  error("REAPER's resource path holds every kind of quotation mark: " .. path, 0)
end

local function shell_word(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- Low priority keeps playback fluent; Python must be told of UTF-8, since programs with windows have no locale.
local function shell_script(base, commands)
  local lines = { "#!/bin/sh", ": > " .. shell_word(base .. ".started"), "export PYTHONUTF8=1" }
  for _, command in ipairs(commands) do
    local words = {}
    for i, word in ipairs(command.words) do words[i] = shell_word(word) end
    lines[#lines + 1] = ("nice -n 5 %s < /dev/null > %s 2>> %s"):format(
      table.concat(words, " "), shell_word(base .. command.output), shell_word(base .. ".errors"))
  end
  lines[#lines + 1] = "echo $? > " .. shell_word(base .. ".part")
  lines[#lines + 1] = ("mv -f %s %s"):format(shell_word(base .. ".part"), shell_word(base .. ".ended"))
  return table.concat(lines, "\n") .. "\n"
end

-- JSON is Python, too, as long as it holds lists, objects and strings only.
local PYTHON = [[
import os
import subprocess

base, commands = %s
open(base + ".started", "w").close()
quiet = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
code = 1
try:
    for command in commands:
        with open(base + ".errors", "ab") as errors, open(base + command["output"], "wb") as output:
            code = subprocess.run(
                command["words"], stdin=subprocess.DEVNULL, stdout=output, stderr=errors, creationflags=quiet
            ).returncode
except OSError as error:
    with open(base + ".errors", "a", encoding="utf-8") as errors:
        errors.write(str(error))
finally:
    with open(base + ".part", "w") as part:
        part.write(str(code))
    os.replace(base + ".part", base + ".ended")
]]

local function python_script(base, commands)
  return PYTHON:format(json.encode({ base, commands }))
end

-- Only where there is no Python to be found beside the tool. A percent sign would begin a variable.
local function batch_script(base, commands)
  local function word(text) return '"' .. text:gsub("%%", "%%%%") .. '"' end
  local lines = { "@echo off", "chcp 65001 >nul", "type nul >" .. word(base .. ".started") }
  for _, command in ipairs(commands) do
    local words = {}
    for i, each in ipairs(command.words) do words[i] = word(each) end
    lines[#lines + 1] = ("%s <nul >%s 2>>%s"):format(
      table.concat(words, " "), word(base .. command.output), word(base .. ".errors"))
  end
  lines[#lines + 1] = (">%s echo %%ERRORLEVEL%%"):format(word(base .. ".part"))
  lines[#lines + 1] = ("move /y %s %s >nul"):format(word(base .. ".part"), word(base .. ".ended"))
  return table.concat(lines, "\r\n") .. "\r\n"
end

-- The Python without a console that a command of a virtual environment, or of Python itself, has beside it.
local function quiet_python(ttsr)
  local folder = files.split(ttsr)
  for _, place in ipairs({ folder, (files.split(folder)) }) do
    local path = files.join(place, "pythonw.exe")
    if reaper.file_exists(path) then return path end
  end
  return nil
end

-- What to write, under which ending, and the command line that runs it.
local function script_for(base, commands)
  if not files.is_windows() then
    return shell_script(base, commands), ".sh", "/bin/sh " .. quoted(base .. ".sh")
  end
  local python = quiet_python(commands[1].words[1])
  if python then return python_script(base, commands), ".py", quoted(python) .. " " .. quoted(base .. ".py") end
  return batch_script(base, commands), ".bat", 'cmd.exe /d /q /c "' .. quoted(base .. ".bat") .. '"'
end

-- Starts commands one after the other and returns at once. Each has `words`, the program's path first, and `output`,
-- the ending of the file that takes what it prints. Files `base` with the endings .started, .errors and .ended (the
-- last exit code) say what became of it. Nil and the reason where nothing could be started.
function launch.start(base, commands)
  local script, ending, command_line = script_for(base, commands)
  local written, reason = files.write(base .. ending, script)
  if not written then return nil, reason end
  reaper.ExecProcess(command_line, -2)
  return true
end

return launch
