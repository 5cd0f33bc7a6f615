"""Follow the README's installation in a project of its own, away from the repository.

``adopt.py PYTHON WHEEL-OR-SDIST README``
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CALLBACK = '{"phone": "554499999999", "customId": "123", "zaapId": "A20DA9C0183A2D35", "type": "DeliveryCallback"}'

FILES = "from importlib.metadata import files; print(*files('django-plugchat'), sep=chr(10))"

# Runs in the new project: what a browser and the provider would do.
VISIT = f"""
import re, requests
base = "http://127.0.0.1:PORT"
secret = {"s" * 32!r}
headers = {{"Content-Type": "application/json"}}
answer = requests.post(f"{{base}}/plugchat/callback/{{secret}}/", data={CALLBACK!r}, headers=headers)
assert answer.json() == {{"status": "recorded"}}, answer.text
session = requests.Session()
login = session.get(f"{{base}}/admin/login/").text
token = re.search(r'name="csrfmiddlewaretoken" value="(.+?)"', login)[1]
data = {{"username": "admin", "password": "admin", "csrfmiddlewaretoken": token, "next": "/admin/"}}
assert session.post(f"{{base}}/admin/login/", data=data).ok
page = session.get(f"{{base}}/admin/django_plugchat/deliveryevent/", headers={{"Accept-Language": "pt-br"}}).text
assert "A20DA9C0183A2D35" in page, page
assert "Enviada ao WhatsApp" in page, page
"""


def blocks(readme: str, language: str) -> list[str]:
    section = readme.split("## Installation")[1].split("\n## ")[0]
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", section, re.S | re.M)
    return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in found]


def main(python: str, distribution: str, readme: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        environ = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "DATABASE_URL"}}
        environ |= {"PLUGCHAT_TOKEN": "t" * 20, "PLUGCHAT_WEBHOOK_SECRET": "s" * 32}
        environ |= {"DJANGO_SUPERUSER_PASSWORD": "admin", "PATH": f"{project}/venv/bin:{environ['PATH']}"}

        def run(*command: str) -> str:
            done = subprocess.run(command, cwd=project, env=environ, check=True, stdout=subprocess.PIPE, text=True)
            return done.stdout

        subprocess.run([python, "-m", "venv", project / "venv"], check=True)
        install, check = (block.splitlines() for block in blocks(Path(readme).read_text(), "console")[:2])
        assert install == ["pip install django-plugchat"]
        run("pip", "install", "-q", distribution)
        names = run("python", "-c", FILES).splitlines()
        for part in ("py.typed", "locale/pt_BR/LC_MESSAGES/django.mo", "templates/", "migrations/0001_initial.py"):
            assert any(name.startswith(f"django_plugchat/{part}") for name in names), part
        assert all(name.startswith(("django_plugchat/", "django_plugchat-")) for name in names), names
        run("django-admin", "startproject", "shop", ".")

        settings, urls = blocks(Path(readme).read_text(), "python")
        text = (project / "shop/settings.py").read_text()
        text = "import os\n" + text.replace(
            "USE_I18N", 'LANGUAGES = [("en", "English"), ("pt-br", "Português")]\nUSE_I18N'
        )
        text = text.replace(
            '"django.middleware.common', '"django.middleware.locale.LocaleMiddleware",\n    "django.middleware.common'
        ).replace(
            "'django.middleware.common", "'django.middleware.locale.LocaleMiddleware',\n    'django.middleware.common"
        )
        (project / "shop/settings.py").write_text(text + settings.replace("INSTALLED_APPS = [", "INSTALLED_APPS += ["))
        text = (project / "shop/urls.py").read_text().replace("import path", "import include, path")
        (project / "shop/urls.py").write_text(text + urls.replace("urlpatterns = [", "urlpatterns += ["))

        for command in check:
            print(run(*command.split()), end="")
        print(run("python", "manage.py", "check", "--fail-level", "WARNING"), end="")
        run("python", "manage.py", "createsuperuser", "--noinput", "--username", "admin", "--email", "a@example.com")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = str(listener.getsockname()[1])
        server: subprocess.Popen[Any] = subprocess.Popen(
            [f"{project}/venv/bin/python", "manage.py", "runserver", "--noreload", port],
            cwd=project,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait = f"import socket, time\nwhile socket.socket().connect_ex(('127.0.0.1', {port})): time.sleep(0.1)"
            run("timeout", "60", "python", "-c", wait)
            run("python", "-c", VISIT.replace("PORT", port))
        finally:
            server.terminate()
            server.wait()
        print(f"Adopted with {run('python', '--version').strip()}, Django {run('django-admin', '--version').strip()}.")


if __name__ == "__main__":
    main(*(str(Path(argument).absolute()) for argument in sys.argv[1:]))
