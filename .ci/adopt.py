"""Follow the README in a project of its own, away from the repository: each step, and all the code that it shows.

``adopt.py PYTHON WHEEL-OR-SDIST README``
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: The README's host, which can't be registered, and the one that its reader puts there.
PLACEHOLDER, HOST = "your-site.example", "hooks.loja.com.br"
FILES = "from importlib.metadata import files; print(*files('django-plugchat'), sep=chr(10))"

APPS = """
from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        from shop import receivers
"""

ID = "A20DA9C0183A2D35A260F53F5D2B9244"
ORDER = f"from shop.models import Order; Order.objects.create(zaap_id={ID!r}, message_id={ID!r})"

# What a browser and the provider would do.
VISIT = f"""
import os, re, requests
base = "http://127.0.0.1:PORT"
callback = {{"type": "MessageStatusCallback", "status": "READ", "ids": [{ID!r}]}}
answer = requests.post(f"{{base}}/plugchat/callback/{{os.environ['PLUGCHAT_WEBHOOK_SECRET']}}/", json=callback)
assert answer.json() == {{"status": "recorded"}}, answer.text
session = requests.Session()
login = session.get(f"{{base}}/admin/login/").text
token = re.search(r'name="csrfmiddlewaretoken" value="(.+?)"', login)[1]
data = {{"username": "admin", "password": "admin", "csrfmiddlewaretoken": token, "next": "/admin/"}}
assert session.post(f"{{base}}/admin/login/", data=data).ok
page = session.get(f"{{base}}/admin/django_plugchat/deliveryevent/", headers={{"Accept-Language": "pt-br"}}).text
assert {ID!r} in page, page
assert "plugchat-read" in page, page
assert "Callbacks recusados" in page, page
"""

TOLD = """
from django_plugchat.models import DeliveryEvent
from shop.models import Order
assert [order.whatsapp for order in Order.objects.all()] == ["read"]
assert {event.dispatch_status for event in DeliveryEvent.objects.all()} == {"done"}
"""


def blocks(section: str, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", section, re.S | re.M)
    return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in found]


def main(python: str, distribution: str, readme: str) -> None:
    _before, installation, receiving = re.split(
        r"<!-- (?:installation|end of the installation) -->", Path(readme).read_text()
    )
    install, exports, set_up, curl, register = blocks(installation, "console")
    settings, urls = blocks(installation, "python")
    modules = {
        match[1]: block for block in blocks(receiving, "python") if (match := re.match(r"# (shop/\w+\.py)\n", block))
    }
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        environ = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "DATABASE_URL"}}
        environ |= {"DJANGO_SUPERUSER_PASSWORD": "admin", "PATH": f"{project}/venv/bin:{environ['PATH']}"}

        def run(*command: str) -> str:
            done = subprocess.run(command, cwd=project, env=environ, check=True, stdout=subprocess.PIPE, text=True)
            return done.stdout

        subprocess.run([python, "-m", "venv", project / "venv"], check=True)
        assert install.startswith('pip install "django-plugchat @ git+https://'), install
        run("pip", "install", "-q", distribution)
        names = run("python", "-c", FILES).splitlines()
        for part in ("py.typed", "locale/pt_BR/LC_MESSAGES/django.mo", "templates/", "migrations/0001_initial.py"):
            assert any(name.startswith(f"django_plugchat/{part}") for name in names), part
        assert all(name.startswith(("django_plugchat/", "django_plugchat-")) for name in names), names
        run("django-admin", "startproject", "mysite", ".")
        for line in run("bash", "-ec", f"{exports}env").splitlines():
            if line.startswith("PLUGCHAT_"):
                name, _equals, value = line.partition("=")
                environ[name] = value
        assert len(environ["PLUGCHAT_WEBHOOK_SECRET"]) >= 32

        # Below what startproject wrote, so that lists are added to.
        own = settings.replace(PLACEHOLDER, HOST).replace("INSTALLED_APPS = [", "INSTALLED_APPS += [") + (
            'INSTALLED_APPS += ["shop"]\n'
            'MIDDLEWARE.insert(2, "django.middleware.locale.LocaleMiddleware")\n'
            'LANGUAGES = [("en", "English"), ("pt-br", "Português")]\n'
        )
        with (project / "mysite/settings.py").open("a") as file:
            file.write(own)
        with (project / "mysite/urls.py").open("a") as file:
            file.write(urls.replace("urlpatterns = [", "urlpatterns += ["))
        (project / "shop").mkdir()
        for path, content in {"shop/__init__.py": "", "shop/apps.py": APPS, **modules}.items():
            (project / path).write_text(content)
        run("python", "manage.py", "makemigrations", "shop")

        *steps, create_user = set_up.splitlines()
        assert create_user == "python manage.py createsuperuser"
        for command in steps:
            print(run(*command.split()), end="")
        print(run("python", "manage.py", "check", "--fail-level", "WARNING"), end="")
        run(*create_user.split(), "--noinput", "--username", "admin", "--email", "a@example.com")
        run("python", "manage.py", "shell", "-c", ORDER)
        # Neither PlugChat nor the public site is here.
        register = re.sub(r"--probe|--wait \d+", "", register) + " --dry-run"
        print(run(*register.split()), end="")
        refused = subprocess.run([*register.split(), f"https://{PLACEHOLDER}"], cwd=project, env=environ, check=False)
        assert refused.returncode == 1

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
            for answer in ("recorded", "duplicate"):
                command = curl.replace("curl", "curl -sS").replace("8000", port)
                assert run("bash", "-ec", command) == f'{{"status":"{answer}"}}'
            run("python", "-c", VISIT.replace("PORT", port))
        finally:
            server.terminate()
            server.wait()
        run("python", "manage.py", "shell", "-c", TOLD)
        print(f"Adopted with {run('python', '--version').strip()}, Django {run('django-admin', '--version').strip()}.")


if __name__ == "__main__":
    main(*(str(Path(argument).absolute()) for argument in sys.argv[1:]))
