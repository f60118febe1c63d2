"""The addresses of devices."""

from django.urls import path

from devices.views import devices, pairing

app_name = "devices"

urlpatterns = [
    path("devices/", devices.index, name="index"),
    path("devices/add/", devices.add, name="add"),
    path("devices/<uuid:uuid>/", devices.device, name="device"),
    path("devices/<uuid:uuid>/rename/", devices.rename, name="rename"),
    path("devices/<uuid:uuid>/pace/", devices.pace, name="pace"),
    path("devices/<uuid:uuid>/reconnect/", devices.reconnect, name="reconnect"),
    path("devices/<uuid:uuid>/send-again/", devices.send_again, name="send_again"),
    path("devices/<uuid:uuid>/unlink/", devices.unlink, name="unlink"),
    path("devices/<uuid:uuid>/remove/", devices.remove, name="remove"),
    path("devices/<uuid:uuid>/pair/", pairing.pair, name="pair"),
    path("devices/<uuid:uuid>/pair/cancel/", pairing.cancel, name="cancel_pairing"),
    path("devices/<uuid:uuid>/pair/play/", pairing.play_phone, name="play_phone"),
]
