-- What the specs share: files, folders, and a REAPER with stems in it.

local lfs = require("lfs")
local stub = require("stub")

local tools = {}

local function env(name) return assert(os.getenv(name), name .. " is not set; the specs are run by test_reaper.py") end

tools.ttsr, tools.python = env("TTSR"), env("TTSR_PYTHON")
tools.scripts, tools.stems = env("TTSR_SCRIPTS"), env("TTSR_STEMS")
tools.quoted = tools.stems .. "/" .. env("TTSR_QUOTED")
tools.one, tools.two = tools.stems .. "/one/vox.wav", tools.stems .. "/two/vox.wav"
tools.flac, tools.broken = tools.stems .. "/loop.flac", tools.stems .. "/broken.wav"

-- A new, empty folder; its name is one that quoting stumbles over.
function tools.folder()
  local number = 1
  while true do
    local path = ("%s/O'Brien {%d} “ü” %s"):format(env("TTSR_WORK"), number, _VERSION)
    if lfs.mkdir(path) then return path end
    number = number + 1
  end
end

function tools.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

function tools.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

function tools.exists(path) return lfs.attributes(path) ~= nil end

-- Names in a folder, sorted; none where there is no folder.
function tools.names(folder)
  local names = {}
  if lfs.attributes(folder) then
    for name in lfs.dir(folder) do
      if not name:find("^%.") then names[#names + 1] = name end
    end
  end
  table.sort(names)
  return names
end

function tools.matching(folder, pattern)
  local found = {}
  for _, name in ipairs(tools.names(folder)) do
    if name:find(pattern) then found[#found + 1] = name end
  end
  return found
end

-- A file that is run in place of ttsr. It gets the job's path as $3; $base is that of all files of the run.
function tools.fake(lines)
  local path = tools.write(tools.folder() .. "/ttsr", "#!/bin/sh\nbase=${3%%.json}\n" .. lines .. "\n")
  os.execute(("chmod +x %q"):format(path))
  return path
end

-- A REAPER whose project is saved, unless `options.unsaved`, with `ttsr` set up.
function tools.world(options)
  options = options or {}
  local folder = tools.folder()
  lfs.mkdir(folder .. "/resources")
  lfs.mkdir(folder .. "/media")
  local world = stub.new({
    resources = folder .. "/resources",
    media = folder .. "/media",
    project = not options.unsaved and folder .. "/song.rpp" or nil,
    os = options.os,
    ext = options.ext,
    launches = options.launches,
  })
  world.jobs = folder .. "/resources/TTSR/jobs"
  world.renders = folder .. "/media/ttsr"
  if options.ttsr ~= false then world.ext["TTSR\0ttsr"] = options.ttsr or tools.ttsr end
  return world
end

function tools.script(name) return tools.scripts .. "/" .. name end

-- Adds the JSON files that bear an ending to a table, decoded, by name.
function tools.collect(world, ending, found)
  for i, name in ipairs(tools.matching(world.jobs, ending:gsub("%p", "%%%0") .. "$")) do
    found[name] = found[name] or tools.decoded(world, ending)[i]
  end
end

-- The JSON files of a run that bear an ending, decoded.
function tools.decoded(world, ending)
  local json = world:module(tools.scripts, "ttsr_json")
  local found = {}
  for i, name in ipairs(tools.matching(world.jobs, ending:gsub("%p", "%%%0") .. "$")) do
    found[i] = assert(json.decode(tools.read(world.jobs .. "/" .. name)))
  end
  return found
end

function tools.message(world) return table.concat(world.messages, "\n---\n") end

return tools
