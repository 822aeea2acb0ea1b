-- A stand-in for REAPER: a project with items, takes and sources, its undo history, its dialogs and its deferred
-- functions. It is strict: what REAPER does not have, or would refuse, is an error here, and so is any change to the
-- project outside of an undo block, and waiting for a process.
--
--   local world = stub.new({ resources = "/tmp/x", project = "/tmp/p/song.rpp" })
--   local item = world:add_item({ source = stub.source("/tmp/p/a.wav"), length = 2, selected = true })
--   world:run("/.../ttsr_render_selected.lua")
--
-- `world.messages`, `.console`, `.undo`, `.commands` say what happened; `.answers` holds what the user types into
-- dialogs (a list of lists, or of false for Cancel); `.each_cycle` is called before every round of deferred functions;
-- `.step` is by how many seconds REAPER's clock goes on in one.

local system = require("system")
local checks = require("stub_checks")
local gfx_table = require("stub_gfx")
local objects = require("stub_objects")

local stub = { source = objects.source, section = objects.section }
local World = {}
World.__index = World

local SLEEP = 0.05 -- seconds that a cycle takes

function World:guid()
  self.guids = self.guids + 1
  return ("{%08X-0000-4000-8000-000000000000}"):format(self.guids)
end

function World:add_take(item, fields)
  local take = objects.new("MediaItem_Take", {
    guid = self:guid(), item = item, name = fields.name or "", source = fields.source, midi = fields.midi or false,
    values = { D_STARTOFFS = fields.offset or 0, D_PLAYRATE = fields.rate or 1, I_CHANMODE = 0, D_VOL = 1 },
    markers = {}, ext = {},
    stretch = objects.deep(fields.stretch or {}), envelopes = objects.deep(fields.envelopes or {}),
  })
  for key, value in pairs(fields.values or {}) do take.values[key] = value end
  item.takes[#item.takes + 1] = take
  return take
end

function World:add_item(fields)
  local item = objects.new("MediaItem", {
    guid = self:guid(), project = self.project, takes = {}, active = 1, selected = fields.selected or false,
    locked = fields.locked or false,
    values = { D_POSITION = 0, D_LENGTH = fields.length or 1, B_LOOPSRC = fields.loop and 1 or 0 },
  })
  table.insert(self.project.items, item)
  if fields.source or fields.midi then self:add_take(item, fields) end
  return item
end

function World:delete(item)
  item.alive = false
  for _, take in ipairs(item.takes) do take.alive = false end
  for i, each in ipairs(self.project.items) do
    if each == item then return table.remove(self.project.items, i) end
  end
end

-- Does what Ctrl+Z does.
function World:undo_once() objects.restore(self.project, table.remove(self.undo).before) end

local function reaper_table(world)
  local calls = {}
  for name, signature in pairs(checks.REAPER) do
    local call = require("stub_project")[name] or require("stub_system")[name] or error("the stub lacks " .. name)
    calls[name] = checks.checked(name, signature, function(...) return call(world, ...) end)
  end
  return setmetatable(calls, { __index = function(_, name) error("REAPER has no " .. tostring(name), 2) end })
end

-- A new REAPER. Options: resources (its own folder), project (a file, or nil: never saved), media (where it records),
-- os, ext (settings kept from another world), launches (false: processes never come up).
function stub.new(options)
  local world = setmetatable({
    os = options.os or "Other", resources = options.resources, ext = options.ext or {}, now = 1000, step = 0.1,
    launches = options.launches ~= false, messages = {}, console = "", dialogs = {}, answers = {}, undo = {},
    commands = {}, peaks = {}, processes = {}, deferred = {}, exits = {}, drawn = {}, keys = {}, listings = {},
    depth = 0, frozen = 0, redrawn = 0, cycles = 0, guids = 0,
  }, World)
  world.project = objects.new("ReaProject", { file = options.project or "", path = options.media, items = {} })
  world.gfx, world.reaper = gfx_table(world), reaper_table(world)
  return world
end

-- What a script of REAPER's sees: a Lua state of its own, with nothing in it that another script left.
local function environment(world)
  local loaded, env = {}, nil
  local package_copy = { path = package.path, config = package.config }
  local function require_here(name)
    if loaded[name] == nil then
      local path = assert(package.searchpath(name, package_copy.path))
      loaded[name] = assert(loadfile(path, "t", env))()
    end
    return loaded[name]
  end
  env = setmetatable({ reaper = world.reaper, gfx = world.gfx, package = package_copy, require = require_here }, {
    __index = _G,
    __newindex = function(_, name) error("a global variable is made: " .. name, 2) end,
  })
  return env
end

-- One of the scripts' modules, as a script gets it.
function World:module(folder, name)
  local env = environment(self)
  env.package.path = folder .. "/?.lua"
  return env.require(name)
end

-- One round of REAPER's user interface: deferred functions run once, time goes by.
function World:cycle()
  self.cycles = self.cycles + 1
  if self.each_cycle then self.each_cycle(self) end
  local calls = self.deferred
  self.deferred = {}
  for _, call in ipairs(calls) do call() end
  system.sleep(SLEEP)
  self.now = self.now + self.step
end

-- Runs a script until it has nothing left to do. Fails after `limit` seconds (default 400).
function World:run(script, limit)
  self.script, self.deferred, self.exits = script, {}, {}
  assert(loadfile(script, "t", environment(self)))()
  local stop = os.time() + (limit or 400)
  while #self.deferred > 0 do
    if os.time() > stop then error("the script never ends; said so far: " .. table.concat(self.messages, " | ")) end
    self:cycle()
  end
  self:quit()
end

-- Ends the script, as REAPER does when it quits or the user terminates it.
function World:quit()
  self.deferred = {}
  for _, call in ipairs(self.exits) do call() end
  self.exits = {}
  assert(self.depth == 0, "an undo block was left open")
  assert(self.frozen == 0, "the user interface was left frozen")
end

return stub
