"""The description of the callback URL for projects that use drf-spectacular."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from django.core.management import call_command

from .conftest import EXAMPLE


@pytest.fixture
def description(tmp_path) -> Any:
    path = tmp_path / "schema.yml"
    call_command("spectacular", "--validate", "--fail-on-warn", file=path)
    return yaml.safe_load(path.read_text())


def test_described_once_and_without_warnings(description):
    assert list(description["paths"]) == ["/plugchat/callback/{secret}/"]
    (operation,) = description["paths"]["/plugchat/callback/{secret}/"].values()
    assert list(operation["responses"]) == ["200", "400", "404", "405", "411", "413", "415", "503"]
    (request,) = operation["requestBody"]["content"].values()
    assert operation["requestBody"]["required"]
    assert request["schema"] == {"$ref": "#/components/schemas/DeliveryCallback"}
    delivery, _other = description["components"]["schemas"]["DeliveryCallback"]["oneOf"]
    assert delivery["required"] == ["phone", "zaapId", "type"]
    (example,) = request["examples"].values()
    assert example["value"] == EXAMPLE


@pytest.mark.django_db
def test_the_example_is_accepted(description, post):
    operation = description["paths"]["/plugchat/callback/{secret}/"]["post"]
    (request,) = operation["requestBody"]["content"].values()
    (example,) = request["examples"].values()
    answer = post(example["value"]).json()["status"]
    statuses = operation["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["status"]["enum"]
    assert answer in statuses
