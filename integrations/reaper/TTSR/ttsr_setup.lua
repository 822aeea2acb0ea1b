-- @noindex
-- Finds ttsr, remembers where it is, and shows what it says about itself.

local folder = select(2, reaper.get_action_context()):match("^(.*[/\\])")
package.path = folder .. "?.lua;" .. package.path

require("ttsr_check").run()
