-- @description TTSR Studio: give band-limited items their top octaves back
-- @version 0.1.0
-- @author TTSR Studio
-- @changelog First version.
-- @about
--   Renders the sources of selected items with TTSR Studio and adds the best renders as takes. REAPER stays free
--   meanwhile; offsets, rates, loops, fades, envelopes and markers stay as they are; everything is one undo step.
--
--   Three actions come with it: ttsr_render_selected.lua, ttsr_render_again.lua (with the last settings) and
--   ttsr_setup.lua (Set up and check).
--
--   TTSR Studio itself has to be installed; ttsr_setup.lua finds it and says what it can do.
-- @provides
--   [main] .
--   [main] ttsr_render_again.lua
--   [main] ttsr_setup.lua
--   [nomain] ttsr_batches.lua
--   [nomain] ttsr_check.lua
--   [nomain] ttsr_files.lua
--   [nomain] ttsr_items.lua
--   [nomain] ttsr_job.lua
--   [nomain] ttsr_json.lua
--   [nomain] ttsr_launch.lua
--   [nomain] ttsr_render.lua
--   [nomain] ttsr_settings.lua
--   [nomain] ttsr_takes.lua
--   [nomain] ttsr_window.lua

local folder = select(2, reaper.get_action_context()):match("^(.*[/\\])")
package.path = folder .. "?.lua;" .. package.path

local render = require("ttsr_render")
local settings = require("ttsr_settings")

local prepared = render.prepare()
local chosen = prepared and settings.ask()
if chosen then render.start(prepared, chosen) end
