-- What a stub of REAPER's project is made of: sources, and its state at one time.

local audio_length = require("audio_length")

local objects = {}

function objects.deep(value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for key, each in pairs(value) do copy[key] = objects.deep(each) end
  return copy
end

-- A thing that REAPER would give a pointer to; one that is not alive any more is a pointer gone bad.
function objects.new(kind, fields)
  fields.kind, fields.alive = kind, true
  return fields
end

function objects.source(path, kind)
  return objects.new("PCM_source", { type = kind or "WAVE", file = path, length = audio_length(path) or 0 })
end

function objects.section(parent, offset, length, reversed)
  return objects.new("PCM_source", {
    type = "SECTION", file = "", parent = parent, length = length,
    section = { offset = offset, length = length, reversed = reversed or false },
  })
end

-- A copy of all that an undo step brings back.
function objects.snapshot(project)
  local state = {}
  for i, item in ipairs(project.items) do
    local takes = {}
    for k, take in ipairs(item.takes) do
      takes[k] = {
        take = take,
        fields = { name = take.name, source = take.source },
        copies = objects.deep({ values = take.values, markers = take.markers, stretch = take.stretch, ext = take.ext }),
      }
    end
    state[i] = { item = item, takes = takes, active = item.active, values = objects.deep(item.values) }
  end
  return state
end

-- Brings a project back to such a state.
function objects.restore(project, state)
  project.items = {}
  for i, saved in ipairs(state) do
    local item = saved.item
    project.items[i], item.takes, item.active, item.values = item, {}, saved.active, saved.values
    for k, each in ipairs(saved.takes) do
      item.takes[k] = each.take
      for key, value in pairs(each.fields) do each.take[key] = value end
      for key, value in pairs(each.copies) do each.take[key] = value end
    end
  end
end

return objects
