"""The addresses of contacts and their imports."""

from django.urls import path

from campaigns.views import checks, contacts, imports

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
    path("contacts/imports/<uuid:uuid>/sheet/", imports.import_sheet, name="import_sheet"),
    path("contacts/imports/<uuid:uuid>/import/", imports.import_real, name="import_real"),
    path("contacts/imports/<uuid:uuid>/undo/", imports.import_undo, name="import_undo"),
    path("contacts/imports/<uuid:uuid>/start/", imports.import_start, name="import_start"),
    path("contacts/imports/<uuid:uuid>/stop/", imports.import_stop, name="import_stop"),
    path("contacts/imports/<uuid:uuid>/discard/", imports.import_discard, name="import_discard"),
    path("contacts/imports/<uuid:uuid>/rejected.csv", imports.import_rejects, name="import_rejects"),
    path("contacts/imports/<uuid:uuid>/opted-out.csv", imports.import_kept_out, name="import_kept_out"),
]
