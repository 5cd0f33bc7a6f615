"""nginx and Caddy, configured as the documentation says."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .servers import free_port, wait_for_port

_DOCS = Path(__file__).parent.parent / "docs"


def shown_in(page: str, language: str) -> list[str]:
    """The blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (_DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


@contextmanager
def _running(command: list[str], port: int, *, stop_by: int = signal.SIGTERM, **environ: str) -> Iterator[None]:
    child = subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, child)
        yield
    finally:
        child.send_signal(stop_by)
        child.wait(60)


@contextmanager
def nginx(page: str, directory: Path, upstream: str) -> Iterator[str]:
    """Log files go to the directory; yields where it listens."""
    port = free_port()
    in_http, in_server = shown_in(page, "nginx")
    temporary = "".join(
        f"{name}_temp_path {directory / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    server = f"server {{ listen 127.0.0.1:{port}; {in_server} }}"
    config = (
        f"daemon off; master_process off; pid {directory / 'pid'}; error_log {directory / 'error.log'}; "
        f"events {{}} http {{ {temporary} {in_http} {server} }}"
    )
    config = config.replace("http://127.0.0.1:8000", upstream).replace("/var/log/nginx", str(directory))
    (directory / "nginx.conf").write_text(config.replace("$host", "127.0.0.1"))
    command = ["nginx", "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(directory / "nginx.conf")]
    # So that it finishes what it was about to log.
    with _running(command, port, stop_by=signal.SIGQUIT):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def caddy(page: str, directory: Path, upstream: str) -> Iterator[str]:
    """Log files go to the directory; yields where it listens."""
    port = free_port()
    (shown,) = [block for block in shown_in(page, "text") if "reverse_proxy" in block]
    shown = shown.replace("{\n", "{\n\tadmin off\n", 1)
    shown = shown.replace("example.com", f"http://127.0.0.1:{port}").replace("127.0.0.1:8000", upstream[7:])
    (directory / "Caddyfile").write_text(shown.replace("/var/log/caddy", str(directory)))
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(directory / "Caddyfile")]
    # Where it keeps its state.
    with _running(command, port, HOME=str(directory), XDG_CONFIG_HOME=str(directory), XDG_DATA_HOME=str(directory)):
        yield f"http://127.0.0.1:{port}"
