"""Rules of Open Job Description by which a worker finds paths of the machine that submitted a job."""

from pathlib import Path

from ttsr_studio.batch.job_file import read_json
from ttsr_studio.batch.path_map import PathMap, pure
from ttsr_studio.errors import OptionError, shown


def read_rules(path: Path) -> PathMap:
    """The rules of a file ("pathmapping-1.0"); an empty object has none. Raises OptionError for what is none."""
    data = read_json(path)
    rules = data.get("path_mapping_rules", []) if isinstance(data, dict) else None
    if not isinstance(rules, list):
        raise OptionError(f"{shown(path)}: no path mapping rules, as Open Job Description has them")
    pairs = []
    for rule in rules:
        names = [rule.get(key) for key in ("source_path", "destination_path")] if isinstance(rule, dict) else []
        if len(names) != 2 or not all(isinstance(name, str) and pure(name) for name in names):
            raise OptionError(f"{shown(path)}: a rule has an absolute source_path and destination_path, not {rule!r}")
        pairs.append((str(names[0]), str(names[1])))
    return PathMap(tuple(pairs))
