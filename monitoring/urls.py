"""The addresses of the monitoring app."""

from django.urls import path

from monitoring.views import health, home, operations, wall, workers

app_name = "monitoring"

urlpatterns = [
    path("dashboard", home.home, name="home"),
    path("dashboard/workers", workers.worker_status, name="worker_status"),
    path("dashboard/workers/resume-failed/", workers.resume_failed, name="resume_failed"),
    path("dashboard/workers/pause-all/", workers.pause_all, name="pause_all"),
    path("dashboard/workers/resume-all/", workers.resume_all, name="resume_all"),
    path("dashboard/workers/reconnect/", workers.reconnect, name="reconnect"),
    path("dashboard/workers/health-check/", workers.health_check, name="health_check"),
    path("dashboard/workers/<uuid:uuid>/", workers.worker_page, name="worker"),
    path("dashboard/walls/", wall.wall_links, name="wall_links"),
    path("dashboard/walls/<uuid:uuid>/revoke/", wall.revoke, name="wall_revoke"),
    path("wall/<str:token>/", wall.wall, name="wall"),
    path("operations/workers", workers.fleet, name="fleet"),
    path("operations/workers/health-check/", workers.fleet_health_check, name="fleet_health_check"),
    path("operations/workers/<uuid:uuid>/", workers.fleet_worker, name="fleet_worker"),
    path("operations/drain/", operations.drain, name="drain"),
    path("operations/keep/", operations.keep, name="keep"),
    path("operations/", operations.operations_page, name="operations"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("api/system/redis-check", health.redis_check, name="redis_check"),
]
