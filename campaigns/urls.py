"""The addresses of the campaigns app."""

from django.urls import include, path

from campaigns.views import campaigns, clones, direct, drafts, files, lists, moves, moving, previews

app_name = "campaigns"

urlpatterns = [
    path("", include("campaigns.urls_contacts")),
    path("devices/<uuid:uuid>/test/", direct.device_test, name="device_test"),
    path("devices/<uuid:uuid>/test/send/", direct.send_device_test, name="send_device_test"),
    path("devices/<uuid:uuid>/move/", moving.move_messages, name="move_messages"),
    path("devices/<uuid:uuid>/move-people/", moving.move_people, name="move_people"),
    path("campaigns/", lists.campaign_list, name="list"),
    path("campaigns/calendar/", lists.calendar, name="calendar"),
    path("campaigns/new/", drafts.create, name="create"),
    path("campaigns/preview/", previews.preview, name="preview"),
    path("campaigns/missing/", previews.missing, name="missing"),
    path("campaigns/audience/", previews.audience_count, name="audience"),
    path("campaigns/files/", files.upload, name="file_upload"),
    path("campaigns/files/<uuid:uuid>/", files.show, name="file"),
    path("campaigns/<uuid:uuid>/", campaigns.campaign_page, name="campaign"),
    path("campaigns/<uuid:uuid>/edit/", drafts.edit, name="edit"),
    path("campaigns/<uuid:uuid>/edit/<str:step>/", drafts.step, name="step"),
    path("campaigns/<uuid:uuid>/test-send/", previews.test_send, name="test_send"),
    path("campaigns/<uuid:uuid>/delete/", drafts.delete, name="delete"),
    path("campaigns/<uuid:uuid>/clone/", clones.clone, name="clone"),
    path("campaigns/<uuid:uuid>/archive/", clones.archive, name="archive"),
    path("campaigns/<uuid:uuid>/unarchive/", clones.unarchive, name="unarchive"),
    path("campaigns/<uuid:uuid>/text/", drafts.text, name="text"),
    path("campaigns/<uuid:uuid>/recipients/", campaigns.recipient_list, name="recipients"),
    path("campaigns/<uuid:uuid>/leave-out/", moves.leave_out, name="leave_out"),
    path("campaigns/<uuid:uuid>/start/", moves.start, name="start"),
    path("campaigns/<uuid:uuid>/go-on/", moves.go_on, name="go_on"),
    path("campaigns/<uuid:uuid>/pause/", moves.pause, name="pause"),
    path("campaigns/<uuid:uuid>/resume/", moves.resume, name="resume"),
    path("campaigns/<uuid:uuid>/cancel/", moves.cancel, name="cancel"),
    path("campaigns/<uuid:uuid>/unschedule/", moves.unschedule, name="unschedule"),
    path("campaigns/<uuid:uuid>/failover/", moving.failover, name="failover"),
    path("campaigns/<uuid:uuid>/retry-failed/", moves.retry_failed_messages, name="retry_failed"),
    path("campaigns/<uuid:uuid>/send-again/", moves.send_uncertain_again, name="send_again"),
    path("campaigns/<uuid:uuid>/assume-sent/", moves.assume_uncertain_sent, name="assume_sent"),
]
