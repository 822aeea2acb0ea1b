-- What goes wrong, with stand-ins for `ttsr` that do what the real one does only on its worst days.

local stub = require("stub")
local tools = require("tools")

local SELECTED, AGAIN = tools.script("ttsr_render_selected.lua"), tools.script("ttsr_render_again.lua")

-- A shell line that writes a result and then the done file, as ttsr does.
local function answer(status, code, files)
  local result = ('{"status": "%s", "message": "", "files": [%s]}'):format(status, files or "")
  return ([[printf '%%s' '%s' > "$base.result"; echo %s > "$base.done"]]):format(result:gsub("'", "'\\''"), code)
end

local function rendered(output)
  return ('{"input": "x", "status": "rendered", "top": [{"rank": 1, "output": "%s", "score": null}], "uncertain": '
    .. '[{"start_s": 0.25, "end_s": 0.5, "mean_db": 7.44}]}'):format(output)
end

-- A REAPER with one selected item, and a stand-in for ttsr of these shell lines.
local function world_with(lines, options)
  options = options or {}
  options.ttsr = options.ttsr == nil and tools.fake(lines) or options.ttsr
  local world = tools.world(options)
  local item = world:add_item({ name = "Vox", source = stub.source(tools.one), length = 0.5, selected = true })
  world.answers = { {} }
  return world, item
end

local function said(world, part)
  local message = tools.message(world)
  assert.truthy(message:find(part, 1, true), ("%q is missing in: %s"):format(part, message))
end

local function untouched(world, item)
  assert.equal(1, #item.takes)
  assert.equal(1, item.active)
  assert.equal(0, #world.undo)
end

describe("Before anything is rendered", function()
  it("a ttsr that is not there is named, and nothing is asked", function()
    local world = world_with("", { ttsr = "/nowhere/ttsr" })
    local launch = world:module(tools.scripts, "ttsr_launch")
    if launch.find() then return pending("a ttsr is installed on this machine") end
    world:run(SELECTED)
    said(world, "ttsr was not found")
    said(world, "ttsr_setup.lua")
    assert.equal(0, #world.dialogs)
  end)

  it("an empty selection is told", function()
    local world = tools.world()
    world:run(SELECTED)
    said(world, "Select the items to render first.")
  end)

  it("a selection with nothing in it to render is explained", function()
    local world = tools.world()
    world:add_item({ name = "Keys", midi = true, selected = true })
    world:run(SELECTED)
    said(world, "Nothing here can be rendered:\n\nKeys: it is MIDI")
    assert.equal(0, #world.dialogs)
  end)

  it("a dialog that is left is the end of it", function()
    local world, item = world_with("")
    world.answers = { false }
    world:run(SELECTED)
    assert.equal(0, #world.processes)
    assert.equal("", world.ext["TTSR\0preset"] or "")
    untouched(world, item)
  end)

  it("a slip in the dialog is told, and asked again with what was typed", function()
    local world = world_with(answer("done", 0))
    world.answers = {
      { "speech", "lots" }, { "speech", "16", "9" }, { "speech", "16", "2", "n", "seed" },
      { "", "16", "2", "n", "seed=3" }, { "my, preset.toml", "64nfe", "2", "n", 'seed=3 caption="a choir"' },
    }
    world:run(SELECTED)
    assert.equal(5, #world.dialogs)
    assert.same({ "speech", "lots", "1", "y", "" }, world.dialogs[2].values)
    assert.truthy(world.messages[1]:find("Budget", 1, true))
    assert.truthy(world.messages[2]:find("from 1 to 8", 1, true))
    assert.truthy(world.messages[3]:find('"seed" is no name=value', 1, true))
    local job = tools.decoded(world, ".json")[1]
    assert.equal("my, preset.toml", job.preset)
    assert.equal(2, job.keep_top)
    assert.same({ budget = "64nfe", seed = 3, caption = "a choir" }, job.options)
  end)

  it("again asks where there was no last time, and remembers for the next", function()
    local world = world_with(answer("done", 0))
    world.answers = { { "drums", "", "3" } }
    world:run(AGAIN)
    world:run(AGAIN)
    assert.equal(1, #world.dialogs)
    assert.equal("drums", tools.decoded(world, ".json")[1].preset)
    assert.equal(3, tools.decoded(world, ".json")[1].keep_top)
  end)
end)

describe("A ttsr that fails", function()
  it("and says nothing is noticed, with what it printed last", function()
    local world, item = world_with("echo 'out of memory' >&2; exit 137")
    world:run(SELECTED)
    said(world, "ttsr ended without an answer (exit code 137)")
    said(world, "out of memory")
    untouched(world, item)
  end)

  it("is not covered up by files that an earlier run left", function()
    local world, item = world_with("exit 7")
    local guids = 0
    world.guid = function() -- the same names as last time
      guids = guids + 1
      return ("{SAME-%d}"):format(guids % 2)
    end
    os.execute(("mkdir -p %q"):format(world.jobs))
    for _, name in ipairs({ "SAME-0", "SAME-1" }) do
      local base = world.jobs .. "/ttsr-" .. name
      tools.write(base .. ".result", ('{"status": "done", "files": [%s]}'):format(rendered(tools.one)))
      tools.write(base .. ".done", "0\n")
      tools.write(base .. ".cancel", "")
    end
    world:run(SELECTED)
    said(world, "exit code 7")
    untouched(world, item)
  end)

  it("is believed only where the done file and the result agree", function()
    for _, lines in ipairs({
      answer("failed", 0, rendered(tools.one)), answer("done", 1, rendered(tools.one)),
      'echo "{ half" > "$base.result"; echo 0 > "$base.done"', 'echo 0 > "$base.done"',
    }) do
      local world, item = world_with(lines)
      world:run(SELECTED)
      assert.equal(1, #world.messages)
      untouched(world, item)
    end
  end)

  it("and never comes up is given up after a minute", function()
    local world, item = world_with("", { launches = false })
    world.each_cycle = function(w) w.now = w.now + 10 end
    world:run(SELECTED)
    said(world, "ttsr could not be started")
    untouched(world, item)
  end)

  it("does not keep other files from being rendered", function()
    -- Two files of one name make two jobs; the first one dies.
    local lines = 'case "$(cat "$3")" in */one/*) exit 9;; esac; ' .. answer("done", 0, rendered(tools.two))
    local world, item = world_with(lines)
    local other = world:add_item({ name = "Two", source = stub.source(tools.two), length = 0.5, selected = true })
    world:run(SELECTED)
    said(world, "New takes for 1 of 2 items")
    assert.equal(1, #item.takes)
    assert.equal(2, #other.takes)
    assert.equal("Two - TTSR general", other.takes[2].name)
  end)

  it("and goes silent is told, and can be left at once", function()
    local world, item = world_with("sleep 3")
    world.each_cycle = function(w)
      if w.cycles == 4 then w.now = w.now + 400 end
      if w.cycles == 8 then w.keys = { 27 } end
    end
    world:run(SELECTED)
    assert.is_true(world.cycles < 20)
    local told = false
    for text in pairs(world.drawn) do told = told or text:find("no news for 6:", 1, true) ~= nil end
    assert.is_true(told)
    untouched(world, item)
  end)

  it("and ignores a cancel is not waited for a second time", function()
    local world, item = world_with("sleep 3")
    world.each_cycle = function(w)
      if w.cycles == 4 or w.cycles == 30 then w.keys = { 27 } end
    end
    world:run(SELECTED)
    assert.is_true(world.cycles >= 30 and world.cycles < 35)
    assert.is_true(world.drawn["Stop waiting"])
    assert.equal(1, #tools.matching(world.jobs, "%.cancel$"))
    untouched(world, item)
  end)
end)

describe("While a render runs", function()
  it("closing the window cancels it", function()
    local world, item = world_with("sleep 3")
    world.each_cycle = function(w) w.window_open = w.cycles < 4 end
    world:run(SELECTED)
    assert.equal(1, #tools.matching(world.jobs, "%.cancel$"))
    said(world, "Cancelled; the project is as it was.")
    untouched(world, item)
  end)

  it("quitting REAPER ends it, too", function()
    local world = world_with("sleep 3")
    world.each_cycle = function(w)
      if w.cycles == 4 then w:quit() end
    end
    world:run(SELECTED)
    assert.equal(4, world.cycles)
    assert.equal(1, #tools.matching(world.jobs, "%.cancel$"))
  end)

  it("cancelling late names the files that were finished", function()
    local lines = 'case "$(cat "$3")" in */two/*) sleep 3; exit;; esac; ' .. answer("done", 0, rendered(tools.one))
    local world = world_with(lines)
    world:add_item({ name = "Two", source = stub.source(tools.two), length = 0.5, selected = true })
    world.each_cycle = function(w)
      if #w.processes == 2 then w.keys = { 27 } end
    end
    world:run(SELECTED)
    said(world, "These renders were finished and stay where they are:\n" .. tools.one)
  end)

  it("closing the project keeps the renders and changes nothing", function()
    local world, item = world_with(answer("done", 0, rendered(tools.one)))
    world.each_cycle = function(w) w.project.alive = false end
    world:run(SELECTED)
    said(world, "The project was closed meanwhile")
    said(world, tools.one)
    untouched(world, item)
  end)
end)

describe("Inserting", function()
  it("refuses a render that is not as long as its source, or not there", function()
    local short = tools.folder() .. "/short.wav"
    tools.write(short, tools.read(tools.one):sub(1, 40) .. string.pack("<I4", 48000) .. ("\0"):rep(48000))
    for _, path in ipairs({ short, "/nowhere/x.wav" }) do
      local world, item = world_with(answer("done", 0, rendered(path)))
      world:run(SELECTED)
      said(world, path)
      untouched(world, item)
    end
  end)

  it("tells of an item that REAPER will not change, and leaves its take as it was", function()
    local world, item = world_with(answer("done", 0, rendered(tools.one)))
    item.locked = true
    world:run(SELECTED)
    said(world, "Vox: REAPER did not duplicate the take; is the item locked?")
    assert.equal(1, #item.takes)
    assert.equal(1, item.active)
  end)

  it("puts markers only where they are wanted", function()
    local world, item = world_with(answer("done", 0, rendered(tools.one)))
    world:run(SELECTED)
    assert.equal("uncertain 0.2 s, 7.4 dB", item.takes[2].markers[1].name)
    assert.equal(0.25, item.takes[2].markers[1].position)
    world, item = world_with(answer("done", 0, rendered(tools.one)))
    world.answers = { { "general", "", "1", "no" } }
    world:run(SELECTED)
    assert.same({}, item.takes[2].markers)
  end)

  it("moves all markers of a section by the same time, however close they are", function()
    local world = tools.world({ ttsr = tools.fake(answer("done", 0, rendered(tools.one))) })
    local section = stub.section(stub.source(tools.one), 0.3, 0.2)
    local item = world:add_item({ name = "Part", source = section, length = 0.2, selected = true })
    for i = 1, 4 do item.takes[1].markers[i] = { position = 0.04 * i, name = tostring(i), color = 0 } end
    world.answers = { { "general", "", "1", "n" } }
    world:run(SELECTED)
    local found = {}
    for i, marker in ipairs(item.takes[2].markers) do found[i] = ("%s@%.2f"):format(marker.name, marker.position) end
    assert.same({ "1@0.34", "2@0.38", "3@0.42", "4@0.46" }, found)
  end)
end)
