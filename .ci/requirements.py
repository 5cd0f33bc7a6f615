"""Print pyproject.toml's requirements for a pip that knows no dependency groups (before 25.1).

``requirements.py GROUP…`` prints those of the groups; ``requirements.py --lowest`` the lowest versions that are
declared of what users install.
"""

import sys
import tomllib
from pathlib import Path
from typing import Any

PYPROJECT: dict[str, Any] = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())


def of_group(name: str) -> list[str]:
    requirements: list[str] = []
    for entry in PYPROJECT["dependency-groups"][name]:
        requirements += of_group(entry["include-group"]) if isinstance(entry, dict) else [entry]
    return requirements


def lowest() -> list[str]:
    project = PYPROJECT["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["progress"]]
    declared += [*project["optional-dependencies"]["tasks"], *of_group("databases")]
    return [requirement.replace(">=", "==") for requirement in declared]


if __name__ == "__main__":
    found = lowest() if sys.argv[1:] == ["--lowest"] else [line for name in sys.argv[1:] for line in of_group(name)]
    # One word each, also with a marker: the shell splits them.
    print(*(requirement.replace(" ", "") for requirement in found))
