"""The addresses of the monitoring app."""

from django.urls import path

from monitoring.views import health, home, operations, status, workers

app_name = "monitoring"

urlpatterns = [
    path("dashboard", home.home, name="home"),
    path("operations/", operations.operations_page, name="operations"),
    path("status", status.status, name="status"),
    path("status/banner", status.status_banner, name="status_banner"),
    path("metrics", status.metrics, name="metrics"),
    path("api/workers/status", workers.workers_status, name="workers_status"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("api/system/redis-check", health.redis_check, name="redis_check"),
]
