"""The addresses of templates and the media library."""

from django.urls import path

from campaigns.views import library, templates

urlpatterns = [
    path("content/", templates.template_list, name="templates"),
    path("content/templates/new/", templates.template_new, name="template_new"),
    path("content/templates/<uuid:uuid>/", templates.template_page, name="template"),
    path("content/templates/<uuid:uuid>/duplicate/", templates.duplicate, name="template_duplicate"),
    path("content/templates/<uuid:uuid>/archive/", templates.archive, name="template_archive"),
    path("content/templates/<uuid:uuid>/restore/", templates.restore, name="template_restore"),
    path("content/templates/<uuid:uuid>/delete/", templates.delete, name="template_delete"),
    path("content/media/", library.media_list, name="media"),
    path("content/media/upload/", library.media_upload, name="media_upload"),
    path("content/media/picker/", library.media_picker, name="media_picker"),
    path("content/media/room/", library.media_room, name="media_room"),
    path("content/media/make-room/", library.media_make_room, name="media_make_room"),
    path("content/media/<uuid:uuid>/thumbnail/", library.thumbnail, name="media_thumbnail"),
    path("content/media/<uuid:uuid>/keep/", library.media_keep, name="media_keep"),
    path("content/media/<uuid:uuid>/rename/", library.media_rename, name="media_rename"),
    path("content/media/<uuid:uuid>/delete/", library.media_delete, name="media_delete"),
]
