"""Every address of the site: the apps' own, sign-in, the admin and its queue pages."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from django_rq.urls import get_admin_urlpatterns, get_api_urlpatterns

admin.autodiscover()
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.site_header = admin.site.site_title = "Flotilla"

# The second list has a check of its own and feeds the pages of the first.
queue_pages = [*get_admin_urlpatterns(view_wrapper=admin.site.admin_view), *get_api_urlpatterns()]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="monitoring:home"), name="root"),
    path("", include("accounts.urls")),
    path("", include("devices.urls")),
    path("", include("campaigns.urls")),
    path("", include("monitoring.urls")),
    path("accounts/", include("allauth.urls")),
    path("admin/queues/", include((queue_pages, "django_rq"))),
    path("admin/", admin.site.urls),
]
