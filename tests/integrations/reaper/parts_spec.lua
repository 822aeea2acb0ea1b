-- Parts that have a say of their own: JSON, paths, and what is run on which system.

local tools = require("tools")

local function module(name, options) return tools.world(options):module(tools.scripts, name) end

describe("JSON", function()
  local json = module("ttsr_json")

  it("comes back as it went", function()
    local text = '{"a":[1,2.5,-300,null,true,false,{}],"b":[],"c":"x\\u0001é😀\\n\\"/\\\\\127"}'
    assert.equal(text, json.encode(json.decode(text)))
  end)

  it("reads what Python writes", function()
    assert.equal("é😀/", json.decode('"\\u00e9\\ud83d\\ude00\\/"'))
    assert.equal(2, #json.decode('\239\187\191 [ 1 ,\r\n 2 ] '))
    assert.equal("integer", math.type(json.decode("[3]")[1]))
  end)

  it("says where a text is none", function()
    for _, text in ipairs({ "", "[1,]", '{"a" 1}', '"abc', "[1] 2", "01", "tru", '"\n"', '{a:1}', '"\\x"', "[1" }) do
      local value, reason = json.decode(text)
      assert.is_nil(value)
      assert.truthy(reason:find("^not JSON: "), text)
    end
  end)

  it("refuses what it cannot say", function()
    assert.has_error(function() json.encode(0 / 0) end)
    assert.has_error(function() json.encode({ x = print }) end)
    assert.has_error(function() json.encode({ [3] = 1 }) end)
  end)
end)

describe("Paths", function()
  it("are taken apart as the system does", function()
    local posix = module("ttsr_files")
    assert.same({ "/a b", "c.d", ".wav" }, { posix.split("/a b/c.d.wav") })
    assert.same({ "/a", "b\\c", ".wav" }, { posix.split("/a/b\\c.wav") })
    assert.same({ "/", ".wav", "" }, { posix.split("/.wav") })
    assert.equal("/A/x.WAV", posix.key("/A/x.WAV"))
    local windows = module("ttsr_files", { os = "Win64" })
    assert.same({ "C:\\a b", "c", ".wav" }, { windows.split("C:\\a b\\c.wav") })
    assert.same({ "C:/a", "c", ".wav" }, { windows.split("C:/a/c.wav") })
    assert.equal(windows.key("C:/A/x.WAV"), windows.key("c:\\a\\X.wav"))
    assert.is_true(windows.is_absolute("C:\\x") and windows.is_absolute("\\\\server\\x"))
    assert.is_false(windows.is_absolute("x\\y") or posix.is_absolute("x/y"))
  end)
end)

describe("Options", function()
  local settings = module("ttsr_settings")

  local function check(options, budget)
    return settings.check({ preset = "general", budget = budget or "", takes = "1", markers = "y", options = options })
  end

  it("are typed, and a name that comes twice is a list", function()
    local found = check('seed=3 cutoff=7000.5 compile=true solver=heun verifier=a verifier=b caption="a b"')
    assert.same({
      seed = 3, cutoff = 7000.5, compile = true, solver = "heun", verifier = { "a", "b" }, caption = "a b",
    }, found.options)
    assert.is_nil(check("seed"))
    assert.is_nil(check("seed=3 and more"))
  end)

  it("hold the budget, which has three forms", function()
    assert.same({ candidates = 16 }, check("", "16").options)
    assert.same({ budget = "64nfe" }, check("", "64nfe").options)
    assert.same({ budget = "1.5s" }, check("", "1.5s").options)
    assert.is_nil(check("", "16 candidates"))
  end)
end)

describe("Launching", function()
  -- What is written and run for one command, on a system; `python` lies beside the tool or not.
  local function start(os_name, python)
    local folder = tools.folder()
    local ttsr = folder .. (os_name == "Win64" and "\\ttsr.exe" or "/ttsr")
    if python then tools.write(folder .. "\\pythonw.exe", "") end
    local world = tools.world({ os = os_name, launches = false })
    local launch = world:module(tools.scripts, "ttsr_launch")
    local base = folder .. "/job 50%"
    assert(launch.start(base, { { words = { ttsr, "render", "--job", base .. ".json" }, output = ".output" } }))
    local ending = ({ Win64 = python and ".py" or ".bat" })[os_name] or ".sh"
    return world.processes[1], tools.read(base .. ending), base, ttsr
  end

  it("on Windows goes through a Python without a console", function()
    local command, script, base = start("Win64", true)
    assert.equal(('"%s\\pythonw.exe" "%s.py"'):format(base:match("^(.*)/"), base), command)
    assert.truthy(script:find("CREATE_NO_WINDOW", 1, true))
  end)

  it("on Windows without one goes through a batch file that knows no variables and speaks UTF-8", function()
    local command, script, base = start("Win64", false)
    assert.equal(('cmd.exe /d /q /c ""%s.bat""'):format(base), command)
    assert.truthy(script:find("chcp 65001", 1, true))
    assert.truthy(script:find("job 50%%.json", 1, true))
    assert.truthy(script:find("\r\n", 1, true))
    assert.is_nil(script:gsub("\r\n", ""):find("\n", 1, true))
  end)

  it("elsewhere goes through a shell script, in quotation marks that the path has none of", function()
    for _, name in ipairs({ "Other", "macOS-arm64" }) do
      local command, _, base = start(name)
      assert.equal(('/bin/sh "%s.sh"'):format(base), command)
    end
    local world = tools.world({ launches = false })
    local launch = world:module(tools.scripts, "ttsr_launch")
    local base = tools.folder() .. '/a "b"'
    local command = { words = { "/bin/true" }, output = ".output" }
    assert.has_error(function() launch.start(base .. " `c`", { command }) end) -- O'Brien is in the folder's name
    local plain = os.getenv("TTSR_WORK") .. '/a "b"'
    assert(launch.start(plain, { command }))
    assert.equal(("/bin/sh '%s.sh'"):format(plain), world.processes[1])
  end)

  it("through Python works, and leaves the exit code", function()
    local _, script, base, ttsr = start("Win64", true)
    os.rename(tools.fake("echo hello; echo no good >&2; exit 5"), ttsr)
    os.execute(("%q %q"):format(tools.python, tools.write(base .. ".py", script)))
    assert.equal("5", tools.read(base .. ".ended"))
    assert.equal("hello\n", tools.read(base .. ".output"))
    assert.equal("no good\n", tools.read(base .. ".errors"))
    assert.is_true(tools.exists(base .. ".started"))
    os.remove(ttsr)
    os.execute(("%q %q"):format(tools.python, base .. ".py"))
    assert.equal("1", tools.read(base .. ".ended"))
  end)
end)

describe("Renders go", function()
  local function plan(world, ...)
    return world:module(tools.scripts, "ttsr_batches").plan(world.project, { ... })
  end

  local function stem(folder, name) return tools.write(folder .. "/" .. name, "") end

  it("beside a saved project, whose braces mean nothing", function()
    local world = tools.world()
    local jobs = plan(world, "/a/vox.wav", "/a/VOX.mp3", "/b/bass.wav")
    local place = world.renders:gsub("[{}]", "%0%0")
    assert.equal(place .. "/{stem}_ttsr{ext}", jobs[1].output)
    assert.same({ "/a/vox.wav", "/b/bass.wav" }, jobs[1].inputs)
    assert.equal(place .. "/{stem}_ttsr_2{ext}", jobs[2].output)
    assert.same({ "/a/VOX.mp3" }, jobs[2].inputs)
  end)

  it("beside their sources while the project was never saved, all in one job", function()
    local world = tools.world({ unsaved = true })
    local one, two = stem(tools.folder(), "vox.wav"), stem(tools.folder(), "vox.wav")
    local jobs = plan(world, one, two)
    assert.equal(1, #jobs)
    assert.same({ one, two }, jobs[1].inputs)
    assert.equal("{dir}/ttsr/{stem}_ttsr{ext}", jobs[1].output)
  end)

  it("to where REAPER records when nothing can be written beside a source", function()
    local world = tools.world({ unsaved = true })
    local folder = tools.folder()
    stem(folder, "ttsr") -- a file where the folder would be
    local jobs = plan(world, stem(folder, "vox.wav"))
    assert.equal(world.renders:gsub("[{}]", "%0%0") .. "/{stem}_ttsr{ext}", jobs[1].output)
  end)

  it("nowhere, with a message, when nothing can be written at all", function()
    local world = tools.world()
    tools.write(world.renders, "")
    local jobs, reason = plan(world, "/a/vox.wav")
    assert.is_nil(jobs)
    assert.equal("cannot write to " .. world.renders, reason)
  end)

  it("never over what is there, whatever its ending or case", function()
    local world = tools.world()
    for _, name in ipairs({ "VOX_ttsr.flac", "vox_ttsr_2_top3.wav", "vox_ttsr_3.ttsr.json", "vox_ttsr_40.wav" }) do
      os.execute(("mkdir -p %q"):format(world.renders))
      tools.write(world.renders .. "/" .. name, "")
    end
    assert.truthy(plan(world, "/a/vox.wav")[1].output:find("_ttsr_4{ext}", 1, true))
    assert.truthy(plan(world, "/a/vo.wav")[1].output:find("_ttsr{ext}", 1, true))
  end)
end)
