-- @noindex
-- Renders the selected items with the settings of last time; asks for them where there was no last time.

local folder = select(2, reaper.get_action_context()):match("^(.*[/\\])")
package.path = folder .. "?.lua;" .. package.path

local render = require("ttsr_render")
local settings = require("ttsr_settings")

local prepared = render.prepare()
if prepared then
  local last = settings.last()
  local chosen = last and settings.check(last) or settings.ask()
  if chosen then render.start(prepared, chosen) end
end
