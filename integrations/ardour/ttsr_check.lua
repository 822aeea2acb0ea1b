-- What Ardour makes of a session: one line per region of every audio track, in the order of track, position and layer.
-- ardour7-lua ttsr_check.lua FOLDER SNAPSHOT ANSWER [names]
-- With "names" a line also tells what changes with a take: playlist, name, and what is played. Nothing is saved.

local folder, snapshot, answer, names = arg[1], arg[2], arg[3], arg[4]

local function plays (region)
	local channels = {}
	for channel = 0, region:to_audioregion ():n_channels () - 1 do
		local source = region:source (channel):to_filesource ()
		channels[#channels + 1] = source:isnil () and "?" or source:path () .. "#" .. source:channel ()
	end
	return table.concat (channels, " + ")
end

local function flag (is)
	return is and 1 or 0
end

local function points (list)
	local all = {}
	for event in list:events ():iter () do
		all[#all + 1] = string.format ("%d=%.9g", event.when:samples (), event.value)
	end
	return table.concat (all, ",")
end

local function line (track, region)
	local audio = region:to_audioregion ()
	local fields = {
		track:name (),
		region:position ():samples (),
		region:length ():samples (),
		region:start ():samples (),
		region:layer (),
		audio:n_channels (),
		string.format ("%.9g", audio:scale_amplitude ()),
		flag (region:muted ()) .. flag (region:opaque ()) .. flag (region:locked ()) .. flag (region:position_locked ()),
		flag (audio:fade_in_active ()) .. flag (audio:fade_out_active ()) .. flag (audio:envelope_active ()),
		points (audio:envelope ():list ()),
	}
	if names then
		for _, each in ipairs { track:to_track ():playlist ():to_stateful ():id ():to_s (), region:name (), plays (region) } do
			fields[#fields + 1] = each
		end
	end
	for number, each in ipairs (fields) do
		fields[number] = tostring (each):gsub ("%c", " ")
	end
	return table.concat (fields, "\t")
end

AudioEngine:set_backend ("None (Dummy)", "", "")
local session = load_session (folder, snapshot)
assert (session, "the session cannot be loaded")

local lines = {}
for track in session:get_tracks ():iter () do
	if not track:to_track ():to_audio_track ():isnil () then
		local regions = {}
		for region in track:to_track ():playlist ():region_list ():iter () do
			regions[#regions + 1] = region
		end
		table.sort (regions, function (a, b)
			local first, second = a:position ():samples (), b:position ():samples ()
			return first < second or first == second and a:layer () < b:layer ()
		end)
		for _, region in ipairs (regions) do
			lines[#lines + 1] = line (track, region)
		end
	end
end

-- Written before Ardour is left: the answer counts, not how it ends.
local out = assert (io.open (answer, "w"))
out:write (table.concat (lines, "\n"), "\n")
out:close ()
close_session ()
quit ()
