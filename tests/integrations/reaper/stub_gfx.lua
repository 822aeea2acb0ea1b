-- A window that shows nothing: what was written into it is in `world.drawn`, keys come from `world.keys`.

local checks = require("stub_checks")

local Gfx = {}

function Gfx.init(world) world.window_open = true end
function Gfx.quit(world) world.window_open = false end
function Gfx.update() end
function Gfx.set() end
function Gfx.rect() end
function Gfx.setfont() end
function Gfx.measurestr(_, text) return utf8.len(text) * 8, 15 end
function Gfx.drawstr(world, text) world.drawn[text] = true end
function Gfx.getchar(world)
  if not world.window_open then return -1 end
  return table.remove(world.keys, 1) or 0
end

-- The global table `gfx`, with just the variables and functions that the real one has.
return function(world)
  local variables = { x = 0, y = 0, w = 460, h = 120, mouse_x = 0, mouse_y = 0, mouse_cap = 0 }
  local calls = {}
  for name, signature in pairs(checks.GFX) do
    calls[name] = checks.checked("gfx." .. name, signature, function(...) return Gfx[name](world, ...) end)
  end
  return setmetatable({}, {
    __index = function(_, name)
      local found = calls[name] or variables[name]
      if found == nil then error("gfx has no " .. name, 2) end
      return found
    end,
    __newindex = function(_, name, value)
      if type(variables[name]) ~= "number" then error("gfx has no variable " .. name, 2) end
      variables[name] = value
    end,
  })
end
