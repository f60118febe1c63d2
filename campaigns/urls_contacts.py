"""The addresses of contacts, of what they agreed to, and of their imports."""

from django.urls import path

from campaigns.views import checks, consent, contacts, erasing, imports, opt_out, suppression

urlpatterns = [
    path("contacts/", contacts.contact_list, name="contacts"),
    path("contacts/new/", contacts.contact_add, name="contact_add"),
    path("contacts/check/", checks.check_region, name="check_numbers"),
    path("contacts/check/start/", checks.check_start, name="check_start"),
    path("contacts/check/stop/", checks.check_stop, name="check_stop"),
    path("contacts/<uuid:uuid>/", contacts.contact_page, name="contact"),
    path("contacts/<uuid:uuid>/opt-out/", contacts.contact_opt_out, name="contact_opt_out"),
    path("contacts/<uuid:uuid>/opt-in/", contacts.contact_opt_in, name="contact_opt_in"),
    path("contacts/<uuid:uuid>/erase/", erasing.contact_erase, name="contact_erase"),
    path("contacts/consent/", consent.consent_ledger, name="consent"),
    path("contacts/consent/export/", consent.consent_export, name="consent_export"),
    path("contacts/suppressed/", suppression.suppression_list, name="suppression"),
    path("contacts/suppressed/add/", suppression.suppression_add, name="suppression_add"),
    path("contacts/suppressed/export/", suppression.suppression_export, name="suppression_export"),
    path("contacts/suppressed/<uuid:uuid>/remove/", suppression.suppression_remove, name="suppression_remove"),
    path("o/<str:token>", opt_out.opt_out, name="opt_out"),
    path("contacts/imports/", imports.import_list, name="imports"),
    path("contacts/imports/new/", imports.import_upload, name="import_upload"),
    path("contacts/imports/<uuid:uuid>/", imports.import_page, name="import"),
    path("contacts/imports/<uuid:uuid>/start/", imports.import_start, name="import_start"),
    path("contacts/imports/<uuid:uuid>/stop/", imports.import_stop, name="import_stop"),
    path("contacts/imports/<uuid:uuid>/discard/", imports.import_discard, name="import_discard"),
    path("contacts/imports/<uuid:uuid>/rejected.csv", imports.import_rejects, name="import_rejects"),
]
