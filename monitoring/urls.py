"""The addresses of the monitoring app."""

from django.urls import path

from monitoring.views import alerts, health, home, operations, queue

app_name = "monitoring"

urlpatterns = [
    path("dashboard", home.home, name="home"),
    path("queue/", queue.queue_page, name="queue"),
    path("queue/devices/", queue.queue_devices, name="queue_devices"),
    path("queue/failed/", queue.failed_groups, name="queue_failed"),
    path("queue/failed/<slug:group>/", queue.failed_list, name="queue_group"),
    path("queue/failed/<slug:group>/<slug:deed>/", queue.decide_failed, name="queue_decide"),
    path("queue/uncertain/", queue.uncertain_list, name="queue_uncertain"),
    path("queue/uncertain/<slug:decision>/", queue.settle_uncertain, name="queue_settle"),
    path("settings/alerts/", alerts.alert_settings, name="alert_settings"),
    path("settings/alerts/save/", alerts.save_alert_settings, name="save_alert_settings"),
    path("operations/", operations.operations_page, name="operations"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("api/system/redis-check", health.redis_check, name="redis_check"),
]
