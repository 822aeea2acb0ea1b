-- The whole way with the real `ttsr` on real files.

local stub = require("stub")
local tools = require("tools")

local QUICK = "steps=1 verifier=continuity uncertain-above=0.1"
local SELECTED, AGAIN = tools.script("ttsr_render_selected.lua"), tools.script("ttsr_render_again.lua")

local function source(path) return stub.source(path) end

local function active(item) return item.takes[item.active] end

local function names(item)
  local found = {}
  for i, take in ipairs(item.takes) do found[i] = take.name end
  return found
end

describe("Render selected items", function()
  local world, items, before, stolen
  local jobs, results = {}, {} -- of both runs: a run sweeps up what an earlier one left

  -- One run over everything that can be selected; the specs below look at what came of it.
  setup(function()
    world = tools.world()
    world.answers = { { "preview", "3", "2", "y", QUICK } }
    local quoted = source(tools.quoted)
    items = {
      trimmed = world:add_item({
        name = "Lead", source = source(tools.quoted), offset = 0.1, rate = 1.5, length = 0.2, selected = true,
        stretch = { { 0, 0.1 }, { 0.1, 0.22 } }, envelopes = { Volume = { { 0, 1 }, { 0.1, 0.5 } } },
        values = { I_CHANMODE = 3, D_VOL = 0.7 },
      }),
      looped = world:add_item({
        name = "Loop", source = source(tools.quoted), loop = true, length = 2, selected = true,
      }),
      one = world:add_item({ name = "Vox one", source = source(tools.one), length = 0.5, selected = true }),
      two = world:add_item({ name = "Vox two", source = source(tools.two), length = 0.5, selected = true }),
      flac = world:add_item({ name = "", source = source(tools.flac), length = 0.5, selected = true }),
      section = world:add_item({
        name = "Section", source = stub.section(quoted, 0.2, 0.25), offset = 0.05, length = 0.1, selected = true,
      }),
      section_end = world:add_item({
        name = "Section end", source = stub.section(quoted, 0.2, 0.25), loop = true, length = 1, selected = true,
      }),
      section_stretched = world:add_item({
        name = "Section stretched", source = stub.section(quoted, 0.2, 0.25), length = 0.1, selected = true,
        stretch = { { 0, 0 } },
      }),
      reversed = world:add_item({
        name = "Backwards", source = stub.section(quoted, 0, 0.5, true), length = 0.5, selected = true,
      }),
      midi = world:add_item({ name = "Piano roll", midi = true, selected = true }),
      offline = world:add_item({ name = "Gone file", source = source("/nowhere/x.wav"), selected = true }),
      empty = world:add_item({ selected = true }),
      broken = world:add_item({ name = "Broken", source = source(tools.broken), selected = true }),
      deleted = world:add_item({ name = "Deleted", source = source(tools.one), selected = true }),
      swapped = world:add_item({ name = "Swapped", source = source(tools.one), selected = true }),
      other = world:add_item({ name = "Other", source = source(tools.one), length = 0.5 }),
    }
    active(items.section).markers = {
      { position = 0.06, name = "breath", color = 7 }, { position = 0.09, name = "click", color = 0 },
    }
    before = { quoted = tools.read(tools.quoted), one = tools.read(tools.one), two = tools.read(tools.two) }
    -- Meanwhile the user goes on working.
    world.each_cycle = function(w)
      tools.collect(world, ".json", jobs)
      tools.collect(world, ".result", results)
      if w.cycles ~= 10 then return end
      w:delete(items.deleted)
      active(items.swapped).source = source(tools.two)
      for _, item in ipairs(w.project.items) do item.selected = item == items.other end
      stolen = true
    end
    world:run(SELECTED)
    world.each_cycle(world)
    world.each_cycle = nil
  end)

  it("renders every file once, and files of one name into files of two names", function()
    assert.is_true(stolen)
    local inputs, outputs = {}, {}
    for _, job in pairs(jobs) do
      for _, path in ipairs(job.inputs) do inputs[path] = (inputs[path] or 0) + 1 end
    end
    assert.same({ [tools.quoted] = 1, [tools.one] = 1, [tools.two] = 1, [tools.flac] = 1, [tools.broken] = 1 }, inputs)
    for _, item in ipairs({ items.one, items.two, items.trimmed, items.flac }) do
      outputs[active(item).source.file] = true
    end
    local count = 0
    for path in pairs(outputs) do
      count = count + 1
      assert.equal(world.renders .. "/", path:sub(1, #world.renders + 1))
    end
    assert.equal(4, count)
  end)

  it("never waits for the tool and never touches a source", function()
    assert.is_true(world.cycles > 20)
    assert.equal(2, #world.processes)
    assert.equal(before.quoted, tools.read(tools.quoted))
    assert.equal(before.one, tools.read(tools.one))
    assert.equal(before.two, tools.read(tools.two))
  end)

  it("adds the best renders as takes, named with their scores, the best one active next to the original", function()
    local found = names(items.trimmed)
    assert.equal(3, #found)
    assert.equal("Lead", found[1])
    assert.truthy(found[2]:find("^Lead %- TTSR preview #1 %(%-?%d+%.%d%d%)$"), found[2])
    assert.truthy(found[3]:find("^Lead %- TTSR preview #2 %(%-?%d+%.%d%d%)$"), found[3])
    assert.equal(2, items.trimmed.active)
    assert.truthy(items.trimmed.takes[2].source.file:find("_ttsr%.wav$"))
    assert.truthy(items.trimmed.takes[3].source.file:find("_ttsr_top2%.wav$"))
    assert.equal(tools.quoted, items.trimmed.takes[1].source.file)
    assert.equal("FLAC", active(items.flac).source.type)
  end)

  it("keeps offset, rate, loop, channels, stretch markers and envelopes", function()
    local original, new = items.trimmed.takes[1], items.trimmed.takes[2]
    assert.same({ D_STARTOFFS = 0.1, D_PLAYRATE = 1.5, I_CHANMODE = 3, D_VOL = 0.7 }, new.values)
    assert.same(original.stretch, new.stretch)
    assert.same(original.envelopes, new.envelopes)
    assert.equal(1, items.looped.values.B_LOOPSRC)
    assert.equal(3, #items.looped.takes)
  end)

  it("marks uncertain places where they are in the source, whatever the take's offset and rate", function()
    local expected = {}
    for _, result in pairs(results) do
      for _, file in ipairs(result.files) do
        if file.input == tools.quoted then
          for i, region in ipairs(file.uncertain) do expected[i] = region.start_s end
        end
      end
    end
    assert.is_true(#expected > 0, "nothing was uncertain; the spec proves nothing")
    for _, take in ipairs({ items.trimmed.takes[2], items.trimmed.takes[3], items.looped.takes[2] }) do
      local found = {}
      for i, marker in ipairs(take.markers) do
        found[i] = marker.position
        assert.truthy(marker.name:find("^uncertain %d+%.%d s, %d+%.%d dB$"), marker.name)
        assert.equal(0x1000000, marker.color & 0x1000000)
      end
      assert.same(expected, found)
    end
    assert.equal(0, #items.trimmed.takes[1].markers)
  end)

  it("turns a section into the file with a later offset, its markers with it", function()
    local take = active(items.section)
    assert.is_nil(take.source.parent)
    assert.near(0.25, take.values.D_STARTOFFS, 1e-9)
    local positions = {}
    for _, marker in ipairs(take.markers) do positions[marker.name] = marker.position end
    assert.near(0.26, positions.breath, 1e-9)
    assert.near(0.29, positions.click, 1e-9)
    assert.equal("SECTION", items.section.takes[1].source.type)
    assert.near(0.05, items.section.takes[1].values.D_STARTOFFS, 1e-9)
  end)

  it("says in one message what it could not do, and why", function()
    assert.equal(1, #world.messages)
    local message = tools.message(world)
    assert.truthy(message:find("New takes for 6 of 15 items", 1, true), message)
    for _, line in ipairs({
      "Section end: it shows the end of a section", "Section stretched: it has a section", "Backwards: it is reversed",
      "Piano roll: it is MIDI", "Gone file: its file is offline or missing: /nowhere/x.wav", "an empty item",
      "broken.wav", "Deleted: was deleted meanwhile", "Swapped: has another source by now",
    }) do
      assert.truthy(message:find(line, 1, true), line .. " is missing in: " .. message)
    end
    for _, name in ipairs({ "section_end", "section_stretched", "reversed", "midi", "offline", "broken", "swapped" }) do
      assert.equal(1, #items[name].takes, name)
    end
  end)

  it("leaves the user's selection and every other item alone", function()
    for _, item in ipairs(world.project.items) do assert.equal(item == items.other, item.selected) end
    assert.equal(1, #items.other.takes)
  end)

  it("builds peaks for what it changed, and only that", function()
    assert.is_true(world.peaks[items.trimmed] and world.peaks[items.section])
    assert.is_nil(world.peaks[items.other])
    assert.is_true(world.redrawn > 0)
  end)

  it("is one undo step", function()
    assert.equal(1, #world.undo)
    assert.equal("TTSR: render selected items", world.undo[1].description)
    world:undo_once()
    for _, name in ipairs({ "trimmed", "looped", "one", "two", "flac", "section" }) do
      assert.equal(1, #items[name].takes)
      assert.equal(1, items[name].active)
    end
    assert.same({ "Lead" }, names(items.trimmed))
    assert.near(0.05, items.section.takes[1].values.D_STARTOFFS, 1e-9)
  end)

  describe("and then again", function()
    it("asks nothing, renders the original, beside its source where there is no project, over nothing", function()
      local later = tools.world({ ext = world.ext, unsaved = true })
      local folder = tools.folder()
      local path = tools.write(folder .. "/take 1.wav", tools.read(tools.one))
      os.execute(("mkdir %q"):format(folder .. "/ttsr"))
      local earlier = tools.write(folder .. "/ttsr/take 1_ttsr.wav", tools.read(tools.two))
      local item = later:add_item({ name = "Take", source = source(path), length = 0.5, selected = true })
      local old = later:add_take(item, { name = "Take - TTSR", source = source(earlier) })
      old.ext.TTSR_ORIGIN, item.active = item.takes[1].guid, 2
      later:run(AGAIN)
      assert.equal("", tools.message(later))
      assert.equal(0, #later.dialogs)
      assert.equal(4, #item.takes)
      assert.truthy(active(item).name:find("^Take %- TTSR preview #1"), active(item).name)
      assert.equal(folder .. "/ttsr/take 1_ttsr_2.wav", active(item).source.file)
      assert.equal(tools.read(tools.two), tools.read(earlier))
      assert.equal(1, #later.undo)
      assert.is_true(item.selected)
    end)
  end)
end)

describe("Cancel", function()
  it("stops the render, leaves nothing behind and the project as it was", function()
    local world = tools.world()
    local item = world:add_item({ name = "Vox", source = source(tools.one), length = 0.5, selected = true })
    world.answers = { { "general", "100s", "1", "y", "" } }
    world.each_cycle = function(w)
      if not w.pressed and w.cycles > 20 and #tools.matching(w.jobs, "%.progress$") > 0 then
        w.gfx.mouse_x, w.gfx.mouse_y, w.gfx.mouse_cap, w.pressed = 400, 95, 1, true
      end
    end
    world:run(SELECTED)
    assert.is_true(world.pressed)
    assert.equal("Cancelled; the project is as it was.", tools.message(world))
    assert.equal(1, #item.takes)
    assert.equal(0, #world.undo)
    assert.same({}, tools.names(world.renders))
    assert.equal("cancelled", tools.decoded(world, ".result")[1].status)
    assert.is_false(world.window_open)
  end)
end)
