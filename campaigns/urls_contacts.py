"""The addresses of contacts and their imports."""

from django.urls import path

from campaigns.views import checks, contact_changes, contacts, imports, segments, tags

urlpatterns = [
    path("contacts/", contacts.contact_list, name="contacts"),
    path("contacts/new/", contacts.contact_add, name="contact_add"),
    path("contacts/check/", checks.check_region, name="check_numbers"),
    path("contacts/check/start/", checks.check_start, name="check_start"),
    path("contacts/check/stop/", checks.check_stop, name="check_stop"),
    path("contacts/<uuid:uuid>/", contacts.contact_page, name="contact"),
    path("contacts/<uuid:uuid>/opt-out/", contacts.contact_opt_out, name="contact_opt_out"),
    path("contacts/<uuid:uuid>/opt-in/", contacts.contact_opt_in, name="contact_opt_in"),
    path("contacts/imports/", imports.import_list, name="imports"),
    path("contacts/imports/new/", imports.import_upload, name="import_upload"),
    path("contacts/imports/<uuid:uuid>/", imports.import_page, name="import"),
    path("contacts/imports/<uuid:uuid>/start/", imports.import_start, name="import_start"),
    path("contacts/imports/<uuid:uuid>/stop/", imports.import_stop, name="import_stop"),
    path("contacts/imports/<uuid:uuid>/discard/", imports.import_discard, name="import_discard"),
    path("contacts/imports/<uuid:uuid>/rejected.csv", imports.import_rejects, name="import_rejects"),
    path("contacts/<uuid:uuid>/edit/", contacts.contact_edit, name="contact_edit"),
    path("contacts/export/", contact_changes.contact_export, name="contact_export"),
    path("contacts/change/", contact_changes.contact_change, name="contact_change"),
    path("contacts/change/start/", contact_changes.contact_change_start, name="contact_change_start"),
    path("contacts/changes/<uuid:uuid>/", contact_changes.contact_change_page, name="contact_change_page"),
    path("contacts/tags/", tags.tag_list, name="tags"),
    path("contacts/tags/rename/", tags.tag_rename, name="tag_rename"),
    path("contacts/tags/delete/", tags.tag_delete, name="tag_delete"),
    path("contacts/fields/", tags.field_list, name="fields"),
    path("contacts/fields/save/", tags.field_save, name="field_save"),
    path("contacts/fields/delete/", tags.field_delete, name="field_delete"),
    path("contacts/segments/", segments.segment_list, name="segments"),
    path("contacts/segments/new/", segments.segment_new, name="segment_new"),
    path("contacts/segments/rows/", segments.segment_rows, name="segment_rows"),
    path("contacts/segments/preview/", segments.segment_preview, name="segment_preview"),
    path("contacts/segments/<uuid:uuid>/", segments.segment, name="segment"),
    path("contacts/segments/<uuid:uuid>/count/", segments.segment_count, name="segment_count"),
    path("contacts/segments/<uuid:uuid>/delete/", segments.segment_delete, name="segment_delete"),
]
