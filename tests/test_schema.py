"""The description of the callback URL for projects that use drf-spectacular."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from django.core.management import call_command

from django_plugchat import provider
from django_plugchat.answers import ANSWERS

from .payloads import EXAMPLE, STATUS


@pytest.fixture
def description(tmp_path) -> Any:
    path = tmp_path / "schema.yml"
    call_command("spectacular", "--validate", "--fail-on-warn", file=path)
    return yaml.safe_load(path.read_text())


@pytest.fixture
def operation(description) -> Any:
    assert list(description["paths"]) == ["/plugchat/callback/{secret}/"]
    (operation,) = description["paths"]["/plugchat/callback/{secret}/"].values()
    return operation


@pytest.fixture
def request_body(operation) -> Any:
    assert operation["requestBody"]["required"]
    ((content_type, body),) = operation["requestBody"]["content"].items()
    assert content_type == "application/json"
    return body


def test_each_answer_is_described(operation):
    assert {int(status) for status in operation["responses"]} == {answer.status for answer in ANSWERS}
    for answer in ANSWERS:
        response = operation["responses"][str(answer.status)]
        assert answer.case in response["description"]
        properties = response["content"]["application/json"]["schema"].get("properties", {})
        assert not answer.body or answer.body in properties["status"]["allOf"][0]["enum"]


def test_both_callbacks_are_described_as_they_are_read(description, request_body):
    assert request_body["schema"] == {"$ref": "#/components/schemas/Callback"}
    delivery, status, _other_status, _other = description["components"]["schemas"]["Callback"]["oneOf"]
    assert delivery["required"] == ["phone", "zaapId", "type"]
    assert delivery["properties"]["phone"]["oneOf"][0]["maxLength"] == 64
    assert delivery["properties"].keys() >= EXAMPLE.keys()
    assert status["required"] == ["type", "status", "ids"]
    assert status["properties"]["status"]["allOf"][0]["enum"] == list(provider.OUTCOME_BY_STATUS)
    assert status["properties"]["ids"]["minItems"] == 1


@pytest.mark.django_db
def test_the_examples_are_accepted(request_body, post):
    examples = [example["value"] for example in request_body["examples"].values()]
    assert examples == [EXAMPLE, STATUS]
    assert [post(example).json() for example in examples] == [{"status": "recorded"}] * 2
