"""A bundle as Open Job Description has it: a template, and the files that go with it.

https://github.com/OpenJobDescription/openjd-specifications/wiki/2023-09-Template-Schemas; the folder of a template,
and `asset_references.json` beside it, are what `deadline bundle submit` of AWS Deadline Cloud takes.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any


def job_template(jobs: int, program: Sequence[str], gpu: bool) -> str:
    """The template of a bundle that lies beside its jobs, YAML; a task for each job."""
    first, *more = program
    words = [*more, "render", "--job", "{{Param.Bundle}}/jobs/{{Task.Param.Job}}.json"]
    words += ["--exit-codes", "fault", "--progress", "openjd", "--path-map", "{{Session.PathMappingRulesFile}}"]
    amounts = ["{name: amount.worker.vcpu, min: 2}"] + ["{name: amount.worker.gpu, min: 1}"] * gpu
    return f"""specificationVersion: jobtemplate-2023-09
name: ttsr render
parameterDefinitions:
  - name: Bundle
    type: PATH
    objectType: DIRECTORY
    dataFlow: INOUT
    default: "."
    description: The folder that this template lies in.
  - name: Ttsr
    type: STRING
    default: {json.dumps(first)}
    description: The program, as a worker finds it.
steps:
  - name: render
    parameterSpace:
      taskParameterDefinitions:
        - {{name: Job, type: INT, range: "1-{jobs}"}}
    hostRequirements:
      amounts: [{", ".join(amounts)}]
    script:
      actions:
        onRun:
          command: "{{{{Param.Ttsr}}}}"
          args: {json.dumps(words)}
          cancelation: {{mode: NOTIFY_THEN_TERMINATE, notifyPeriodInSeconds: 60}}
"""


def asset_references(inputs: Collection[Path], folders: Collection[Path]) -> dict[str, Any]:
    """What job attachments carry to a worker, and back; names that are no text are left out, as JSON cannot hold them.

    Args:
        inputs: files that renders read, all there.
        folders: that outputs go to.
    """
    files = sorted(str(path) for path in inputs if is_text(path))
    return {
        "assetReferences": {
            "inputs": {"filenames": files, "directories": []},
            "outputs": {"directories": sorted(str(path) for path in folders if is_text(path))},
            "referencedPaths": [],
        }
    }


def is_text(path: Path) -> bool:
    """Whether a name is Unicode."""
    return not any("\ud800" <= letter <= "\udfff" for letter in str(path))
