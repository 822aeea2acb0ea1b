-- @noindex
-- A small window: two lines, a bar, a button. Closing it or Escape is the same as the button.

local window = {}

local pressed = false -- whether the mouse button was down when we looked last

local WIDTH, HEIGHT = 460, 120
local BUTTON = { x = 360, y = 82, w = 84, h = 26 }
local ESCAPE, CLOSED = 27, -1
local PAPER, INK, FAINT, ACCENT = { 0.16, 0.16, 0.17 }, { 0.9, 0.9, 0.9 }, { 0.3, 0.3, 0.32 }, { 0.25, 0.6, 0.75 }

function window.open(title)
  gfx.init(title, WIDTH, HEIGHT)
  gfx.setfont(1, "Arial", 15)
end

local function color(c) gfx.set(c[1], c[2], c[3], 1) end

local function line(text, y)
  color(INK)
  gfx.x, gfx.y = 16, y
  gfx.drawstr(text)
end

local function bar(share)
  color(FAINT)
  gfx.rect(16, 58, WIDTH - 32, 12, 1)
  color(ACCENT)
  gfx.rect(16, 58, math.floor((WIDTH - 32) * math.max(0, math.min(1, share))), 12, 1)
end

local function button(text)
  color(FAINT)
  gfx.rect(BUTTON.x, BUTTON.y, BUTTON.w, BUTTON.h, 1)
  color(INK)
  local w, h = gfx.measurestr(text)
  gfx.x, gfx.y = BUTTON.x + (BUTTON.w - w) // 2, BUTTON.y + (BUTTON.h - h) // 2
  gfx.drawstr(text)
end

-- What is too long for the window loses its middle, on the boundaries of UTF-8 characters.
local function fitted(text, most)
  local length = utf8.len(text)
  if not length or length <= most then return text end
  local half = (most - 3) // 2
  return text:sub(1, utf8.offset(text, half + 1) - 1) .. "..." .. text:sub(utf8.offset(text, -half))
end

function window.draw(first, second, share, label)
  color(PAPER)
  gfx.rect(0, 0, WIDTH, HEIGHT, 1)
  line(fitted(first, 62), 14)
  line(fitted(second, 62), 34)
  bar(share)
  button(label)
  gfx.update()
end

local function mouse_on_button()
  return gfx.mouse_x >= BUTTON.x and gfx.mouse_x < BUTTON.x + BUTTON.w
    and gfx.mouse_y >= BUTTON.y and gfx.mouse_y < BUTTON.y + BUTTON.h
end

-- Whether the user wants to end this, asked once a cycle: "pressed" (the button, Escape), "closed", or nil.
function window.wish()
  local key = gfx.getchar()
  if key == CLOSED then return "closed" end
  local down = gfx.mouse_cap & 1 == 1
  local clicked = down and not pressed and mouse_on_button()
  pressed = down
  if clicked or key == ESCAPE then return "pressed" end
  return nil
end

function window.close() gfx.quit() end

return window
