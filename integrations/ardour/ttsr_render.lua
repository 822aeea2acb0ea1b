ardour {
	["type"] = "EditorAction",
	name = "TTSR: Render Selected Regions",
	license = "MIT",
	author = "TTSR Studio",
	description = [[
Gives the selected audio regions their top octaves back with TTSR Studio, on a new playlist of their track.
Position, length, gain, envelope and fades stay; the old playlist stays as it is, and so do the audio files.
Install with: python ttsr_ardour.py --install
]]
}

-- Ardour keeps nothing of this file but what is inside of factory.
function factory () return function ()

	local TITLE = "TTSR Studio"

	local function tell (text, kind)
		LuaDialog.Message (TITLE, text, kind or LuaDialog.MessageType.Info, LuaDialog.ButtonType.Close):run ()
	end

	local function read_file (path)
		local file = io.open (path, "rb")
		if not file then return nil end
		local text = file:read ("a")
		file:close ()
		return text
	end

	local function write_file (path, text)
		local file = assert (io.open (path, "wb"))
		file:write (text)
		file:close ()
	end

	-- key=value lines that ttsr_ardour.py --install has written
	local function settings ()
		local text = read_file (ARDOUR.LuaAPI.build_filename (ARDOUR.user_config_directory (-1), "ttsr.conf"))
		if not text then return nil end
		local values = {}
		for key, value in text:gmatch ("([%w_]+)=([^\n]*)") do
			values[key] = value
		end
		return values
	end

	local function id_of (thing)
		return thing:to_stateful ():id ():to_s ()
	end

	-- { {path, channel}, ... }, or nil for a region that is not made of files
	local function channels_of (region)
		local channels = {}
		for channel = 0, region:to_audioregion ():n_channels () - 1 do
			local source = region:source (channel):to_filesource ()
			if source:isnil () then return nil end
			channels[#channels + 1] = { path = source:path (), channel = source:channel () }
		end
		return channels
	end

	-- Selected audio regions by id with their channels, and the tracks whose current playlist they are on.
	local function selection ()
		local regions, chosen, tracks = {}, {}, {}
		for region in Editor:get_selection ().regions:regionlist ():iter () do
			local channels = not region:to_audioregion ():isnil () and channels_of (region)
			if channels then
				regions[id_of (region)], chosen[id_of (region)] = region, channels
			end
		end
		for route in Session:get_tracks ():iter () do
			local track = route:to_track ()
			for region in track:playlist ():region_list ():iter () do
				if chosen[id_of (region)] then
					tracks[#tracks + 1] = track
					break
				end
			end
		end
		return regions, chosen, tracks
	end

	-- Control characters, quotes and backslashes are all that JSON does not take as they are.
	local function json (text)
		return '"' .. text:gsub ('[%c"\\]', function (c) return string.format ("\\u%04x", c:byte ()) end) .. '"'
	end

	local function shell (text)
		return "'" .. text:gsub ("'", "'\\''") .. "'"
	end

	local function key_of (path, channel)
		return path .. "\t" .. channel
	end

	local function plan (config, chosen, files)
		local regions = {}
		for _, channels in pairs (chosen) do
			local row = {}
			for _, each in ipairs (channels) do
				row[#row + 1] = string.format ("[%s, %d]", json (each.path), each.channel)
			end
			regions[#regions + 1] = "[" .. table.concat (row, ", ") .. "]"
		end
		local options = config.candidates and string.format ('{"candidates": %d}', config.candidates) or "{}"
		local pairs_of = {
			'"regions": [' .. table.concat (regions, ", ") .. "]",
			'"options": ' .. options,
			'"preset": ' .. json (config.preset),
			'"ttsr": ' .. json (config.ttsr),
			'"reports": ' .. json (ARDOUR.LuaAPI.build_filename (Session:path (), "ttsr")),
		}
		for name, path in pairs (files) do
			pairs_of[#pairs_of + 1] = json (name) .. ": " .. json (path)
		end
		return "{" .. table.concat (pairs_of, ", ") .. "}"
	end

	-- Start the tool and wait for it in a window that can be cancelled; its answer, or nil and what is wrong.
	local function run (config, chosen, base)
		local files = { answer = base .. ".answer", progress = base .. ".progress", cancel = base .. ".cancel" }
		local plan_file, done_file, log_file = base .. ".plan", base .. ".done", base .. ".log"
		files.audio = base .. ".renders"
		write_file (plan_file, plan (config, chosen, files))
		-- Ardour's own libraries are not for other programs. The shell notes the end, however the tool ends.
		os.forkexec ("/bin/sh", "-c", string.format ("unset LD_LIBRARY_PATH; %s %s --plan %s </dev/null >%s 2>&1; echo $? >%s",
			shell (config.python), shell (config.tool), shell (plan_file), shell (log_file), shell (done_file)))
		local window, asked = LuaDialog.ProgressWindow (TITLE, true), false
		while not read_file (done_file) do
			local state = read_file (files.progress) or ""
			local share = tonumber (state:match ('"of_all": ([%d.e-]+)') or "") or 0
			-- Ardour draws, and hears the mouse, only while it is told of progress.
			window:progress (share, asked and "cancelling" or state:match ('"stage": "(%w+)"') or "starting")
			if window:canceled () and not asked then
				write_file (files.cancel, "")
				asked = true
			end
			ARDOUR.LuaAPI.usleep (50000)
		end
		window:done ()
		window = nil -- luacheck: ignore
		collectgarbage ()
		local answer, log = read_file (files.answer) or "", read_file (log_file) or ""
		for _, path in ipairs { base, plan_file, done_file, log_file, files.answer, files.progress, files.cancel } do
			os.remove (path)
		end
		if answer:match ("^done\n") then return answer end
		return nil, answer:match ("^failed\n(.*)") or log
	end

	-- What plays instead of what: keys of path and channel, and the new files.
	local function renders_of (answer)
		local plays, files, seen = {}, {}, {}
		for old, channel, new, number in answer:gmatch ("([^\t\n]+)\t(%d+)\t([^\t\n]+)\t(%d+)") do
			plays[key_of (old, channel)] = { path = new, channel = tonumber (number) }
			if not seen[new] then
				seen[new] = true
				files[#files + 1] = new
			end
		end
		return plays, files
	end

	-- Regions of whole audio files, by id.
	local function whole_regions ()
		local found = {}
		for _, region in ARDOUR.RegionFactory.regions ():iter () do
			if region:whole_file () and not region:to_audioregion ():isnil () then
				found[id_of (region)] = region
			end
		end
		return found
	end

	-- Import one file; the regions of the whole of it that Ardour lists for it, by their names.
	local function import (path, how)
		local before, new, paths = whole_regions (), {}, C.StringVector ()
		paths:push_back (path)
		Editor:do_import (paths, how, Editing.ImportAsRegion, ARDOUR.SrcQuality.SrcBest,
			ARDOUR.MidiTrackNameSource.SMFTrackName, ARDOUR.MidiTempoMapDisposition.SMFTempoIgnore,
			Temporal.timepos_t (0), ARDOUR.PluginInfo (), ARDOUR.Track (), false)
		for id, region in pairs (whole_regions ()) do
			if not before[id] then new[#new + 1] = region end
		end
		table.sort (new, function (a, b) return a:name () < b:name () end)
		return new
	end

	-- A region that plays just these channels of one render: all of them, or one; else nil. A file is imported once.
	local function region_of (channels, imported)
		local path = channels[1].path
		local function regions (how)
			local key = key_of (path, how)
			imported[key] = imported[key] or import (path, how)
			return imported[key]
		end
		local whole = regions (Editing.ImportDistinctFiles)[1]
		local in_order = whole and #channels == whole:to_audioregion ():n_channels ()
		for number, each in ipairs (channels) do
			if each.path ~= path then return nil end
			in_order = in_order and each.channel == number - 1
		end
		if in_order then return whole end
		return whole and #channels == 1 and regions (Editing.ImportDistinctChannels)[channels[1].channel + 1] or nil
	end

	-- The new channels of a region, or nil where one of them was not rendered.
	local function new_channels (channels, plays)
		local new = {}
		for _, each in ipairs (channels) do
			local render = plays[key_of (each.path, each.channel)]
			if not render then return nil end
			new[#new + 1] = render
		end
		return new
	end

	-- Lua cannot read a region's fades, but a session file can be read: a snapshot is written and removed again.
	local function saved_regions ()
		local name = "ttsr " .. os.time ()
		Session:save_state (name)
		local path = ARDOUR.LuaAPI.build_filename (Session:path (), name .. ".ardour")
		local text = read_file (path) or ""
		os.remove (path)
		os.remove (ARDOUR.LuaAPI.build_filename (Session:path (), name .. ".history"))
		local regions = {}
		for head, body in text:gmatch ("<Region ([^>]*[^/])>(.-)</Region>") do
			local id, ticks = head:match (' id="(%d+)"'), head:match (' length="a(%d+)@')
			if id then regions[id] = { body = body, ticks = tonumber (ticks) } end
		end
		return regions
	end

	-- Length in samples and shape of a fade; nil for the default fade. What shape a curve was drawn as is not saved, but its
	-- points tell: most shapes have a number of their own, and a slow fade stays louder beside its loud end than a fast one.
	local function fade_of (saved, tag, region)
		local events = saved and saved.body:match ("<" .. tag .. ">.-<events>(.-)</events>.-</" .. tag .. ">")
		if not events or not saved.ticks then return nil end
		local last, values = 0, {}
		for when, value in events:gmatch ("a(%d+) ([^\n]+)") do
			last, values[#values + 1] = tonumber (when), tonumber (value)
		end
		local shapes = {
			[2] = ARDOUR.FadeShape.FadeLinear,
			[10] = ARDOUR.FadeShape.FadeSymmetric,
			[33] = ARDOUR.FadeShape.FadeConstantPower,
		}
		local beside = #values > 2 and math.max (values[2], values[#values - 1]) or 1
		local curved = beside > 0.9 and ARDOUR.FadeShape.FadeSlow or ARDOUR.FadeShape.FadeFast
		-- Points are saved in ticks; the saved length tells how many of them a sample has.
		return math.floor (last * region:length ():samples () / saved.ticks + 0.5), shapes[#values] or curved
	end

	local function copy_envelope (from, to)
		local points = to:envelope ():list ()
		points:clear_list ()
		for event in from:envelope ():list ():events ():iter () do
			points:add (event.when, event.value, false, false)
		end
		to:set_envelope_active (from:envelope_active ())
	end

	-- Everything of a region but what it plays and where it is.
	local function dress (old, new, saved)
		local from, to = old:to_audioregion (), new:to_audioregion ()
		to:set_scale_amplitude (from:scale_amplitude ())
		copy_envelope (from, to)
		local length, shape = fade_of (saved, "FadeIn", old)
		if length then
			to:set_fade_in_shape (shape)
			to:set_fade_in_length (length)
		end
		length, shape = fade_of (saved, "FadeOut", old)
		if length then
			to:set_fade_out_shape (shape)
			to:set_fade_out_length (length)
		end
		to:set_fade_in_active (from:fade_in_active ())
		to:set_fade_out_active (from:fade_out_active ())
		if old:sync_marked () then new:set_sync_position (old:sync_position ()) end
		new:set_muted (old:muted ())
		new:set_opaque (old:opaque ())
		new:set_video_locked (old:video_locked ())
		new:set_position_locked (old:position_locked ())
		new:set_locked (old:locked ())
	end

	-- A new playlist of a track: the old regions, bottom layer first, with renders in place of those chosen.
	local function new_take (track, wholes, saved)
		local old, count = {}, 0
		for region in track:playlist ():region_list ():iter () do
			old[#old + 1] = region
		end
		table.sort (old, function (a, b) return a:layer () < b:layer () end)
		for _, region in ipairs (old) do
			count = count + (wholes[id_of (region)] and 1 or 0)
		end
		if count == 0 then return 0 end
		track:use_new_playlist (ARDOUR.DataType ("audio"))
		local playlist = track:playlist ()
		for _, region in ipairs (old) do
			local whole = wholes[id_of (region)]
			local new = ARDOUR.RegionFactory.clone_region (whole or region, true, false)
			playlist:add_region (new, region:position (), 1, false, 0, 0, false)
			if whole then
				-- A whole file is copied once more when it is put on a playlist.
				new = playlist:top_region_at (region:position ())
				new:set_length (region:length ())
				new:set_start (region:start ())
				dress (region, new, saved[id_of (region)])
			end
		end
		return count
	end

	local config = settings ()
	if not config then
		return tell ("Run this once: python ttsr_ardour.py --install", LuaDialog.MessageType.Error)
	end
	local regions, chosen, tracks = selection ()
	if #tracks == 0 then
		return tell ("Select audio regions first. Combined regions cannot be rendered.")
	end
	local answers = LuaDialog.Dialog (TITLE, {
		{ type = "entry", key = "preset", default = config.preset or "general", title = "Preset" },
		{ type = "number", key = "candidates", title = "Candidates (0: as the preset says)", default = 0,
			min = 0, max = 1024, step = 1, digits = 0 },
	}):run ()
	-- Ardour closes a dialog only when Lua forgets it.
	collectgarbage ()
	if not answers then return end
	config.preset = answers["preset"]
	config.candidates = answers["candidates"] > 0 and math.floor (answers["candidates"]) or nil

	local base = os.tmpname ()
	local answer, wrong = run (config, chosen, base)
	if not answer then
		return tell (wrong .. "\nThe session is as it was.", LuaDialog.MessageType.Error)
	end
	local plays, files = renders_of (answer)
	local imported, wholes, left = {}, {}, 0
	for _, region in pairs (regions) do
		local new = new_channels (channels_of (region), plays)
		local whole = new and region_of (new, imported)
		-- Import resamples what has another rate than the session: that would be longer or shorter, and out of place.
		if whole and whole:length ():samples () == region:source (0):length ():samples () then
			wholes[id_of (region)] = whole
		else
			left = left + 1
		end
	end
	for _, path in ipairs (files) do os.remove (path) end
	os.remove (base .. ".renders")
	local saved, count, taken = saved_regions (), 0, {}
	for _, track in ipairs (tracks) do
		local made = new_take (track, wholes, saved)
		count = count + made
		if made > 0 then taken[#taken + 1] = track:playlist ():name () end
	end
	local text = "Regions rendered: " .. count
	if count > 0 then
		text = text .. (#taken > 1 and ", on playlists " or ", on playlist ") .. table.concat (taken, ", ")
			.. ".\nThe old playlists are in the playlist menu of the track."
	end
	if left > 0 then
		text = text .. "\nRegions that stay as they are: " .. left .. ". Their file has another rate than the session, "
			.. "or they play only some of its channels. The command line can render them."
	end
	tell (text)
end end
