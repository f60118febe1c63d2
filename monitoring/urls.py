"""The addresses of the monitoring app."""

from django.urls import path

from monitoring.views import (
    alerts,
    device_reports,
    health,
    home,
    operations,
    queue,
    reports,
    status,
    workers,
)

app_name = "monitoring"

urlpatterns = [
    path("dashboard", home.home, name="home"),
    path("dashboard/campaigns", reports.campaign_summary, name="campaign_summary"),
    path("dashboard/campaigns/charts", reports.campaign_summary_charts, name="campaign_summary_charts"),
    path("dashboard/campaigns/export", reports.campaign_summary_export, name="campaign_summary_export"),
    path("dashboard/devices", device_reports.device_report, name="device_report"),
    path("dashboard/devices/charts", device_reports.device_report_charts, name="device_report_charts"),
    path("dashboard/devices/export", device_reports.device_report_export, name="device_report_export"),
    path("dashboard/devices/<uuid:uuid>", device_reports.one_device, name="one_device"),
    path("dashboard/devices/<uuid:uuid>/charts", device_reports.one_device_charts, name="one_device_charts"),
    path("dashboard/devices/<uuid:uuid>/export", device_reports.one_device_export, name="one_device_export"),
    path("dashboard/devices/<uuid:uuid>/retry-failed", device_reports.retry_device, name="retry_device"),
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
    path("status", status.status, name="status"),
    path("status/banner", status.status_banner, name="status_banner"),
    path("metrics", status.metrics, name="metrics"),
    path("api/workers/status", workers.workers_status, name="workers_status"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("api/system/redis-check", health.redis_check, name="redis_check"),
]
