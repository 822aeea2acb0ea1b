-- "Set up and check". The real doctor takes its time, so only one Lua asks it; the other one hears what it once said.

local tools = require("tools")

local SETUP = tools.script("ttsr_setup.lua")
local ANSWER = '[{"kind": "engine", "name": "builtin", "ok": true, "detail": "48000 Hz"},'
  .. '{"kind": "device", "name": "cuda", "ok": false, "detail": "no CUDA device"}]'

-- Answers --version and doctor as ttsr does, with this exit code of the doctor.
local function doctor(code)
  return tools.fake(([[
case "$1" in
  --version) echo "ttsr, version 0.1.0";;
  doctor) echo '%s'; exit %d;;
esac]]):format(ANSWER, code))
end

describe("Set up and check", function()
  it("asks ttsr how it is, shows versions and remembers the path", function()
    local ttsr = _VERSION == "Lua 5.4" and tools.ttsr or doctor(0)
    local world = tools.world({ ttsr = false })
    world.answers = { { "/nowhere/ttsr" }, { ' "' .. ttsr .. '" ' } }
    world.step = 0.02 -- a busy machine may need longer than the script would wait
    world:run(SETUP)
    assert.equal(2, #world.messages)
    assert.truthy(world.messages[1]:find("There is no such file", 1, true))
    for _, part in ipairs({ ttsr, "ttsr, version 0.1.0", "Ready to render", "REAPER 7.22" }) do
      assert.truthy(world.messages[2]:find(part, 1, true), part .. " is missing in: " .. world.messages[2])
    end
    assert.truthy(world.console:find("ok       engine builtin", 1, true), world.console)
    assert.truthy(world.console:find("missing  device cuda", 1, true), world.console)
    assert.equal(ttsr, world.ext["TTSR\0ttsr"])
    assert.is_true(world.cycles > 5)
    assert.equal(0, #world.undo)
  end)

  it("says so when nothing can be rendered", function()
    local ttsr = doctor(1)
    local world = tools.world({ ttsr = ttsr })
    world.answers = { {} }
    world:run(SETUP)
    assert.equal(ttsr, world.dialogs[1].values[1])
    assert.truthy(tools.message(world):find("Nothing can be rendered yet", 1, true))
  end)

  it("does not take another program for ttsr", function()
    local world = tools.world({ ttsr = false })
    world.answers = { { tools.fake("echo 'what do you mean?' >&2; exit 2") } }
    world:run(SETUP)
    assert.truthy(tools.message(world):find("This is not a ttsr that works", 1, true))
    assert.truthy(tools.message(world):find("what do you mean?", 1, true))
    assert.is_nil(world.ext["TTSR\0ttsr"])
  end)

  it("can be left at any point", function()
    local world = tools.world()
    world.answers = { false }
    world:run(SETUP)
    world.answers = { { tools.fake("sleep 1") } }
    world.each_cycle = function(w) w.keys = { 27 } end
    world:run(SETUP)
    assert.same({}, world.messages)
    assert.is_false(world.window_open)
  end)

  it("gives up on a ttsr that never answers", function()
    local world = tools.world()
    world.answers = { { tools.fake("sleep 1") } }
    world.each_cycle = function(w) w.now = w.now + 100 end
    world:run(SETUP)
    assert.truthy(tools.message(world):find("No answer within five minutes", 1, true))
  end)
end)
