import os

from django.apps import AppConfig


class RivalsConfig(AppConfig):
    name = "benchmarks.rivals"
    label = "rivals"

    def ready(self) -> None:
        from anymail.signals import tracking

        from benchmarks.rivals import receivers

        tracking.connect(receivers.store_tracking)
        if os.environ.get("BENCHMARK_RECEIVER"):
            receivers.connect()
