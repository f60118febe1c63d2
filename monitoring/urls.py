"""The addresses of the monitoring app."""

from django.urls import path

from monitoring.views import health, home, operations

app_name = "monitoring"

urlpatterns = [
    path("dashboard", home.home, name="home"),
    path("operations/", operations.operations_page, name="operations"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("api/system/redis-check", health.redis_check, name="redis_check"),
]
