"""The addresses of the accounts app; signing up and in is django-allauth's, under /accounts/."""

from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("setup/<str:token>/", views.setup, name="setup"),
    path("settings/", views.settings_page, name="settings"),
    path("settings/workspace/", views.save_workspace, name="save_workspace"),
    path("settings/members/", views.members, name="members"),
    path("settings/profile/", views.profile, name="profile"),
    path("settings/workspaces/", views.workspaces, name="workspaces"),
    path("settings/workspaces/<uuid:uuid>/choose/", views.choose_workspace, name="choose_workspace"),
]
