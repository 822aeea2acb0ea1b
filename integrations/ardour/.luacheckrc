std = "lua53"
max_line_length = 140
globals = { "ardour", "factory" }
read_globals = {
	"ARDOUR", "AudioEngine", "C", "Editing", "Editor", "LuaDialog", "Session", "Temporal",
	"close_session", "load_session", "quit",
	os = { fields = { "forkexec" }, other_fields = true },
}
