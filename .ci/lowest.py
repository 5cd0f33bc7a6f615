"""Print the lowest versions that pyproject.toml declares of what users install, as pip's requirements."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
declared = list(project["dependencies"])
for extra in ("progress", "tasks", "demo", "postgresql", "mariadb"):
    declared += [
        requirement for requirement in project["optional-dependencies"][extra] if "plugchat" not in requirement
    ]
print(*(requirement.replace(">=", "==") for requirement in declared))
