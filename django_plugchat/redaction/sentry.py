import re
from typing import Any

from django_plugchat.phones.numbers import MASK, mask_numbers
from django_plugchat.redaction.texts import redact

_APP = "django_plugchat"
# What tells where it happened.
_PLACES = ("exception", "logger", "request", "stacktrace", "threads", "transaction")
# Of the whole event, what Sentry needs as it is.
_AS_IT_IS = {"_meta", "dist", "environment", "level", "modules", "platform", "release", "sdk", "server_name"}
_IDS_AND_TIMES = {"event_id", "parent_span_id", "span_id", "start_timestamp", "timestamp", "trace_id"}
_ID_OR_TIME = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}(?:Z|\+00:00)?")
_CREDENTIALS = {"authorization", "cookie", "z-api-token"}


def before_send(event: Any, hint: Any) -> Any:
    """For ``sentry_sdk.init(before_send=…, before_send_transaction=…)``: no secret, token, number or body leaves.

    Every text loses what ``redact`` takes out and its runs of seven or more digits. What is about this app keeps of
    an error its class and where it was raised, and of a request its method and path.
    """
    request = event.get("request") or {}
    paths = [str(request.get("url")), str(event.get("transaction"))]
    hidden_in_path = any(MASK in path or redact(path) != path for path in paths)
    is_ours = hidden_in_path or _APP in str([event.get(place) for place in _PLACES])
    if is_ours and request:
        event["request"] = {key: request[key] for key in ("method", "url") if key in request}
    for error in (event.get("exception") or {}).get("values") or ():
        if is_ours and error:
            error["value"] = MASK
    return {key: value if key in _AS_IT_IS else _hidden(value, key, is_ours) for key, value in event.items()}


def _hidden(value: Any, key: str, is_ours: bool) -> Any:
    if isinstance(value, dict):
        items = ((str(name), item) for name, item in value.items() if not (is_ours and name == "vars"))
        return {_hidden_text(name): _hidden(item, name, is_ours) for name, item in items}
    if isinstance(value, list | tuple):
        return [_hidden(item, "", is_ours) for item in value]
    if key.lower() in _CREDENTIALS:
        return MASK
    if isinstance(value, str):
        return value if key in _IDS_AND_TIMES and _ID_OR_TIME.fullmatch(value) else _hidden_text(value)
    if isinstance(value, int | float) and abs(value) >= 10**6 and key not in _IDS_AND_TIMES:  # seven digits
        return MASK
    return value


def _hidden_text(text: str) -> str:
    return mask_numbers(redact(text))
