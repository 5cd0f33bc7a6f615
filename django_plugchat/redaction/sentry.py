import re
from collections.abc import Iterator
from typing import Any

from django_plugchat.phones.numbers import MASK, mask_numbers
from django_plugchat.redaction.texts import redact

_APP = "django_plugchat"
# Of the whole event, what Sentry needs as it is.
_AS_IT_IS = frozenset({"_meta", "dist", "environment", "level", "modules", "platform", "release", "sdk", "server_name"})
_IDS_AND_TIMES = frozenset({"event_id", "parent_span_id", "span_id", "start_timestamp", "timestamp", "trace_id"})
_ID_OR_TIME = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}(?:Z|\+00:00)?", re.ASCII)
_CREDENTIALS = frozenset({"authorization", "cookie", "z-api-token"})
_SMALLEST_HIDDEN = 10**6  # seven digits


def before_send(event: Any, hint: Any) -> Any:
    """For ``sentry_sdk.init(before_send=…, before_send_transaction=…)``: no secret, token, number or body leaves.

    Every text loses what ``redact`` takes out and its runs of seven or more digits. What is about this app keeps of
    an error its class and where it was raised, and of a request its method and path.
    """
    if _is_ours(event):
        for error in _values(event, "exception"):
            error["value"] = MASK
        for frame in _frames(event):
            frame.pop("vars", None)
        if request := event.get("request"):
            event["request"] = {key: request[key] for key in ("method", "url") if key in request}
    return {key: value if key in _AS_IT_IS else _hidden(value, key) for key, value in event.items()}


def _is_ours(event: Any) -> bool:
    for path in ((event.get("request") or {}).get("url"), event.get("transaction")):
        if path and (_APP in path or MASK in path or redact(path) != path):
            return True
    names = [event.get("logger"), *(frame.get("module") for frame in _frames(event))]
    return any(name and name.startswith(_APP) for name in names)


def _values(event: Any, key: str) -> list[Any]:
    return [item for item in (event.get(key) or {}).get("values") or () if item]


def _frames(event: Any) -> Iterator[Any]:
    for part in (event, *_values(event, "exception"), *_values(event, "threads")):
        yield from (part.get("stacktrace") or {}).get("frames") or ()


def _hidden(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {_hidden_text(str(name)): _hidden(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(item) for item in value]
    if key.lower() in _CREDENTIALS:
        return MASK
    if isinstance(value, str):
        return value if key in _IDS_AND_TIMES and _ID_OR_TIME.fullmatch(value) else _hidden_text(value)
    if isinstance(value, int | float) and abs(value) >= _SMALLEST_HIDDEN and key not in _IDS_AND_TIMES:
        return MASK
    return value


def _hidden_text(text: str) -> str:
    return mask_numbers(redact(text))
