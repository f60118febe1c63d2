"""Every address of the site: the apps' own, sign-in, the admin and its queue pages."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.templatetags.static import static
from django.urls import include, path
from django.utils.functional import lazy
from django.views.generic import RedirectView
from django_rq.urls import get_admin_urlpatterns, get_api_urlpatterns

admin.autodiscover()
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.site_header = admin.site.site_title = "Flotilla"

# The second list has a check of its own and feeds the pages of the first.
queue_pages = [*get_admin_urlpatterns(view_wrapper=admin.site.admin_view), *get_api_urlpatterns()]

# Browsers ask for it on pages that name no icon, too. Looked up when asked: its name has a hash in it.
favicon = login_not_required(RedirectView.as_view(url=lazy(static, str)("flotilla/icon.svg")))

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="monitoring:home"), name="root"),
    path("favicon.ico", favicon, name="favicon"),
    path("", include("accounts.urls")),
    path("", include("devices.urls")),
    path("", include("campaigns.urls")),
    path("", include("monitoring.urls")),
    path("accounts/", include("allauth.urls")),
    path("admin/queues/", include((queue_pages, "django_rq"))),
    path("admin/", admin.site.urls),
]
