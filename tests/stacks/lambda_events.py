"""AWS Lambda's side of it: takes events as JSON, hands each to a function, prints the answers."""

import asyncio
import json
import sys

from asgiref.wsgi import WsgiToAsgi
from mangum import Mangum

from tests.stacks import asgi, wsgi

asyncio.set_event_loop(asyncio.new_event_loop())
handlers = {
    "WSGI": Mangum(WsgiToAsgi(wsgi.application), lifespan="off"),
    "ASGI": Mangum(asgi.application, lifespan="off"),
}
answers = [handlers[name](event, None) for name, event in json.load(sys.stdin)]
asyncio.get_event_loop().close()
print(json.dumps(answers))  # noqa: T201
