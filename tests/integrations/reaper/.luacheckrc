std = "lua53+busted"
max_line_length = 120
