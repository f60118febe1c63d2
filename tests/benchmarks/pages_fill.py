"""A workspace as large as they come, made by SQL: a million people, and a message to each of them in every state.

Beside them what such a workspace has gathered: tags, fields, consent, imports, files, templates, segments, thousands of
earlier campaigns; and another workspace, so that the wall between the two has something to keep apart.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

TAGS = {
    "newsletter": 2,
    "webinar": 7,
    "vip": 97,
    "trade fair 2024": 331,
    "board": 50_021,
}  # tag → one person in so many
FIRST = "Aisyah Wei Muhammad Siti Priya João Nguyễn Olu Anna Farid Mei Ravi Chloé Tan Amir Grace Yusuf Lina Ken Hana"
LAST = (
    "binti Rahman|Ling|bin Ismail|Nair|Silva|Văn An|Adeyemi|Kowalska|Osman|Hua|Krishnan|Lefèvre|Wong|Hassan|Okafor|"
    "Abdullah|Müller|Tanaka|Lim|O'Brien|de la Cruz|Smith|Chan|Lee|Singh|Yamamoto|García|Petrov|Novák|Rossi|Haddad"
)
CITIES = "Kuala Lumpur|Penang|Johor Bahru|Ipoh|Kuching|Melaka|Kota Kinabalu|Shah Alam|Seremban|Alor Setar"

PEOPLE_SQL = """
INSERT INTO campaigns_contact (workspace_id, phone, name, fields, status, consent_source, consent_import_id, device_id,
    timezone, opted_out_at, opted_out_reason, created_at)
SELECT %(workspace)s, %(prefix)s || lpad(n::text, 8, '0'),
       CASE WHEN n %% 25 = 0 THEN '' WHEN n %% 250007 = 3 THEN 'Zebulon Quist'
            ELSE first[1 + r %% array_length(first, 1)] || ' ' || last[1 + (r / 32) %% array_length(last, 1)] END,
       jsonb_strip_nulls(jsonb_build_object(
           'city', CASE WHEN n %% 50021 = 1 THEN 'Labuan' ELSE cities[1 + (r / 7) %% 10] END,
           'plan', CASE WHEN n %% 3 = 0 THEN 'gold' END, 'spent', CASE WHEN n %% 4 = 0 THEN (r %% 5000)::text END)),
       CASE WHEN n %% 7 = 0 THEN 'customer' ELSE 'prospect' END, 'Form',
       (%(imports)s::bigint[])[1 + n * array_length(%(imports)s::bigint[], 1) / (%(people)s + 1)],
       CASE WHEN n %% 10 < 7 THEN (%(devices)s::bigint[])[1 + n %% array_length(%(devices)s::bigint[], 1)] END,
       CASE WHEN n %% 60 = 0 THEN 'Europe/Lisbon' ELSE '' END,
       CASE WHEN n %% 50 = 9 THEN now() - n %% 200 * interval '1 day' END, '', now() - n %% 300 * interval '1 day'
FROM (SELECT n, abs(hashint4(n)) AS r FROM generate_series(1, %(people)s) n) n,
     (SELECT string_to_array(%(first)s, ' ') AS first, string_to_array(%(last)s, '|') AS last,
             string_to_array(%(cities)s, '|') AS cities) words
ORDER BY n
"""
CONSENT_SQL = """
INSERT INTO campaigns_consententry (workspace_id, contact_id, phone, kind, source, contact_import_id, at)
SELECT workspace_id, id, phone, 'granted', consent_source, consent_import_id, created_at FROM campaigns_contact
WHERE workspace_id = %(workspace)s
UNION ALL
SELECT workspace_id, id, phone, 'withdrawn', 'Their reply', NULL, opted_out_at FROM campaigns_contact
WHERE workspace_id = %(workspace)s AND opted_out_at IS NOT NULL
"""
SUPPRESSED_SQL = """
INSERT INTO campaigns_suppression (workspace_id, phone, source)
SELECT workspace_id, phone, (ARRAY['reply', 'person', 'link', 'import'])[1 + id %% 4] FROM campaigns_contact
WHERE workspace_id = %(workspace)s AND opted_out_at IS NOT NULL
UNION ALL
SELECT %(workspace)s, '+6017' || lpad(n::text, 8, '0'), 'import' FROM generate_series(1, %(people)s / 200) n
"""
CHECKS_SQL = """
INSERT INTO campaigns_numbercheck (workspace_id, phone, on_whatsapp)
SELECT workspace_id, phone, id %% 40 <> 0 FROM campaigns_contact WHERE workspace_id = %(workspace)s AND id %% 2 = 0
"""
TAGGED_SQL = """
INSERT INTO campaigns_contacttag (workspace_id, contact_id, tag_id)
SELECT workspace_id, id, %(tag)s FROM campaigns_contact WHERE workspace_id = %(workspace)s AND id %% %(every)s = 0
"""
# Sent in the order of contacts, in day and night over three days; a few in each rare state, and the last tenth still to
# come. One in twenty was held out.
MESSAGES_SQL = """
INSERT INTO campaigns_message (workspace_id, campaign_id, stream_id, contact_id, content_id, phone, state, reason,
    due_at, attempts, attempted_at, sent_at, delivered_at, read_at, replied_at, dead_at, text)
SELECT %(workspace)s, %(campaign)s,
       CASE WHEN state = 'skipped' AND n %% 20 = 7 THEN %(nobodys)s
            ELSE (%(streams)s::bigint[])[1 + n %% array_length(%(streams)s::bigint[], 1)] END,
       contact_id, %(content)s, phone, state,
       CASE state WHEN 'skipped' THEN CASE WHEN n %% 20 = 7 THEN 'hold_out' WHEN n %% 31 = 0 THEN 'frequency_cap'
                                           ELSE 'opted_out' END
                  WHEN 'dead' THEN 'refused ' || (480 + n %% 7) WHEN 'expired' THEN 'too_late' ELSE '' END,
       start, (state NOT IN ('pending', 'skipped'))::int, CASE WHEN state NOT IN ('pending', 'skipped') THEN sent END,
       CASE WHEN state IN ('sent', 'delivered', 'read') THEN sent END,
       CASE WHEN state IN ('delivered', 'read') THEN sent + interval '1 minute' END,
       CASE WHEN state = 'read' THEN sent + interval '3 hours' END,
       CASE WHEN state = 'read' AND n %% 7 = 4 THEN sent + interval '5 hours' END,
       CASE WHEN state = 'dead' THEN sent END, CASE WHEN state IN ('sent', 'delivered', 'read') THEN 'Hello' END
FROM (
    SELECT n, c.id AS contact_id, c.phone, now() - interval '4 days' AS start,
           now() - interval '4 days' + n * interval '3 days' / %(people)s AS sent,
           CASE WHEN n > 0.9 * %(people)s THEN CASE WHEN n %% 5000 = 9 THEN 'expired' ELSE 'pending' END
                WHEN n %% 20 = 7 OR n %% 50 = 9 THEN 'skipped' WHEN n %% 200 = 3 THEN 'dead'
                WHEN n %% 10 < 3 THEN 'sent' WHEN n %% 5 = 4 THEN 'read' ELSE 'delivered' END AS state
    FROM (SELECT row_number() OVER (ORDER BY id) AS n, id, phone FROM campaigns_contact
          WHERE workspace_id = %(workspace)s) c
) m ORDER BY contact_id
"""
COUNTS_SQL = """
UPDATE campaigns_stream s SET {counts}, next_due = n.due, next_id = coalesce(n.first, 0)
FROM (SELECT stream_id, {sums}, min(due_at) FILTER (WHERE state = 'pending') AS due,
             min(id) FILTER (WHERE state = 'pending') AS first
      FROM campaigns_message WHERE campaign_id = %(campaign)s GROUP BY stream_id) n
WHERE n.stream_id = s.id
"""
REPLIES_SQL = """
INSERT INTO campaigns_reply (workspace_id, device_id, contact_id, message_id, phone, chat, wire_id, kind, text, at)
SELECT m.workspace_id, s.device_id, m.contact_id, m.id, m.phone, 'chat', 'reply-' || m.id, 'text', 'Yes', m.replied_at
FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id WHERE m.replied_at IS NOT NULL
"""
REPLIED_SQL = """
UPDATE campaigns_contact c SET last_reply_at = m.replied_at FROM campaigns_message m
WHERE m.contact_id = c.id AND m.replied_at IS NOT NULL
"""
EARLIER_SQL = """
INSERT INTO campaigns_campaign (workspace_id, uuid, name, state, content_id, everyone, min_delay, assignment, failover,
    uncertain_policy, created_at, start_at, launched_at, finished_at, planned_at, plan_cursor, recipients, archived_at)
SELECT %(workspace)s, gen_random_uuid(), 'Offer of week ' || n,
       CASE WHEN n %% 40 = 0 THEN 'cancelled' WHEN n %% 50 = 1 THEN 'draft' ELSE 'completed' END,
       (%(contents)s::bigint[])[1 + n %% array_length(%(contents)s::bigint[], 1)], true, 0, 'sticky', 'wait', 'hold',
       at, at, CASE WHEN n %% 50 <> 1 THEN at END, CASE WHEN n %% 50 <> 1 THEN at + interval '5 hours' END, at, 0, 500,
       CASE WHEN n %% 4 = 0 THEN at + interval '90 days' END
FROM (SELECT n, now() - n * interval '8 hours' AS at FROM generate_series(1, %(earlier)s) n) n
"""
EARLIER_STREAMS_SQL = """
INSERT INTO campaigns_stream (workspace_id, campaign_id, device_id, lane, running, min_delay, next_id, {zeros},
    sent, delivered, read, dead, replied)
SELECT k.workspace_id, k.id, d, 1, false, 0, 0, {values}, 5, 10, 15, 3, 2
FROM campaigns_campaign k, unnest(%(devices)s::bigint[]) d
WHERE k.workspace_id = %(workspace)s AND k.launched_at IS NOT NULL AND k.id <> %(campaign)s
"""
# What devices did in each hour of three months, and in each day of two years, by the workspace's clock.
METERS_SQL = """
INSERT INTO {table} (workspace_id, device_id, start, sent, failed, delivered, replied, time_ms, times)
SELECT %(workspace)s, d, at, {n}, {n} / 50, {n} * 9 / 10, {n} / 20, {n} * 700,
       ARRAY[0, 0, {n} / 4, {n} / 4, {n} / 4, {n} / 4, 0, 0, 0, 0, 0, 0]
FROM unnest(%(devices)s::bigint[]) d, generate_series(date_trunc('{step}', now(), %(zone)s) - interval '{back}', now(),
     interval '1 {step}') at
"""
METERS = {
    "campaigns_hourmeter": {
        "step": "hour",
        "back": "90 days",
        "n": "(20 + abs(hashint8(d * 7919 + extract(hour FROM at)::int)) %% 100)",
    },
    "campaigns_daymeter": {"step": "day", "back": "730 days", "n": "(500 + abs(hashint8(d)) %% 2000)"},
}
IMPORTS_SQL = """
INSERT INTO campaigns_contactimport (workspace_id, uuid, filename, size, state, error, encoding, delimiter, country,
    mapping, tags, consent_source, consent_proof, rows_done, bytes_done, lines_done, accepted, rejected, created,
    updated, unchanged, contacts, saved_up_to, tries, created_at, started_at, read_at, finished_at)
SELECT %(workspace)s, gen_random_uuid(), 'people ' || n || '.csv', 5000000, 'done', '', 'utf-8', ',', 'MY',
       '{"header": true, "names": ["Phone"], "columns": [["phone", ""]]}', '[]', 'Form', '', 5050, 5000000, 5051, 5000,
       50, 5000, 0, 0, 5000, '', 0, now(), now(), now(), now()
FROM generate_series(1, %(imports)s) n RETURNING id
"""
REJECTS_SQL = """
INSERT INTO campaigns_importreject (workspace_id, contact_import_id, row, line, reason, cells)
SELECT %(workspace)s, i, n, n + 1, 'The number is too short.', '["012"]' FROM unnest(%(imports)s::bigint[]) i,
       generate_series(1, 50) n
"""
MEDIA_SQL = """
INSERT INTO campaigns_media (workspace_id, uuid, kind, mime, name, size, sha256, data, chosen_at, kept_at)
SELECT %(workspace)s, gen_random_uuid(), (ARRAY['image', 'document', 'video', 'audio'])[1 + n %% 4], 'image/jpeg',
       'file ' || n || '.jpg', 20000, lpad(n::text, 64, '0'), '\\x00', now() - interval '2 days',
       CASE WHEN n %% 3 = 0 THEN now() END
FROM generate_series(1, %(files)s) n RETURNING id
"""
CONTENTS_SQL = """
INSERT INTO campaigns_content (workspace_id, text, media_id)
SELECT %(workspace)s, 'Hello {{ first_name | default: "there" }}, number ' || n,
       CASE WHEN n %% 4 > 0 THEN (%(media)s::bigint[])[1 + n %% array_length(%(media)s::bigint[], 1)] END
FROM generate_series(1, 2 * %(files)s) n RETURNING id
"""
TEMPLATES_SQL = """
INSERT INTO campaigns_template (workspace_id, uuid, name, content_id)
SELECT %(workspace)s, gen_random_uuid(), 'Template ' || n, (%(contents)s::bigint[])[n] FROM generate_series(1, 500) n
"""
SEGMENTS: dict[str, list[dict[str, Any]]] = {
    "Customers": [{"what": "status", "is": "is", "value": "customer"}],
    "Gold in Penang": [
        {"what": "field:plan", "is": "is", "value": "gold"},
        {"what": "field:city", "is": "is", "value": "Penang"},
    ],
    "Answered lately": [{"what": "reply", "is": "within", "value": "30"}],
    "Labuan": [{"what": "field:city", "is": "is", "value": "Labuan"}],
    "VIP": [{"what": "tag", "is": "has", "value": "vip"}],
    "Spent much": [{"what": "field:spent", "is": "more", "value": "4000"}],
}


def fill(people: int, devices: int) -> Any:
    """Returns the large campaign."""
    from django.db import connection
    from django.utils import timezone

    from campaigns.engine.lifecycle import MESSAGE_STATES
    from campaigns.models import (
        NOBODYS,
        CampaignSegment,
        CampaignState,
        CampaignTag,
        CustomField,
        FieldKind,
        Lane,
        Segment,
        Stream,
        Tag,
    )
    from tests.factories import make_campaign, make_device, make_workspace

    workspace, other = make_workspace(), make_workspace()
    numbers = tuple(make_device(workspace) for _ in range(devices))
    now = timezone.now()
    campaign = make_campaign(
        workspace,
        devices=numbers,
        state=CampaignState.RUNNING,
        launched_at=now - timedelta(days=4),
        planned_at=now,
        recipients=people,
        name="To everybody",
    )
    streams = [
        Stream.objects.create(workspace=workspace, campaign=campaign, device=device, lane=Lane.CAMPAIGN).pk
        for device in numbers
    ]
    nobodys = Stream.objects.create(
        workspace=workspace, campaign=campaign, device=numbers[0], variant=NOBODYS, lane=Lane.CAMPAIGN
    )
    tags = {name: Tag.objects.create(workspace=workspace, name=name) for name in TAGS}
    CustomField.objects.create(workspace=workspace, name="spent", kind=FieldKind.NUMBER)
    segments = {
        name: Segment.objects.create(workspace=workspace, name=name, conditions={"match": "all", "rules": rules})
        for name, rules in SEGMENTS.items()
    }
    to_all = make_campaign(workspace, devices=numbers, name="Draft to all", leave_out_absent=True)
    CampaignTag.objects.create(workspace=workspace, campaign=to_all, tag=tags["board"], excluded=True)
    to_some = make_campaign(workspace, devices=numbers[:3], name="Draft to customers", everyone=False, hold_out=5)
    CampaignSegment.objects.create(workspace=workspace, campaign=to_some, segment=segments["Customers"])
    to_tagged = make_campaign(workspace, devices=numbers[:3], name="Draft to VIPs", everyone=False)
    CampaignTag.objects.create(workspace=workspace, campaign=to_tagged, tag=tags["vip"])
    make_campaign(
        workspace, devices=numbers, name="Draft to the silent", everyone=False, retarget_of=campaign,
        retarget="not_replied",
    )  # fmt: skip

    values: dict[str, Any] = {
        "workspace": workspace.pk,
        "people": people,
        "prefix": "+6012",
        "campaign": campaign.pk,
        "content": campaign.content_id,
        "streams": streams,
        "nobodys": nobodys.pk,
        "devices": [device.pk for device in numbers],
        "first": FIRST,
        "last": LAST,
        "cities": CITIES,
        "files": 5_000,
        "earlier": 3_000,
        "zone": workspace.timezone,
        "imports": 200,
    }
    sums = [f"count(*) FILTER (WHERE state = '{state}') AS {state}" for state in MESSAGE_STATES]
    sums.append("count(replied_at) AS replied")
    counts = [f"{name} = n.{name}" for name in (*MESSAGE_STATES, "replied")]
    zeros = [name for name in MESSAGE_STATES if name not in ("sent", "delivered", "read", "dead")]
    with connection.cursor() as cursor:

        def run(statement: str, **others: Any) -> list[int]:
            cursor.execute(statement, {**values, **others})
            return [row[0] for row in cursor.fetchall()] if cursor.description else []

        values["imports"] = run(IMPORTS_SQL)
        run(REJECTS_SQL)
        values["media"] = run(MEDIA_SQL)
        values["contents"] = run(CONTENTS_SQL)
        run(TEMPLATES_SQL)
        run(EARLIER_SQL)
        run(EARLIER_STREAMS_SQL.format(zeros=", ".join(zeros), values=", ".join("0" for _ in zeros)))
        run(PEOPLE_SQL)
        run(PEOPLE_SQL, workspace=other.pk, people=people // 10, devices=[None], imports=[None], prefix="+6018")
        run(CONSENT_SQL)
        run(SUPPRESSED_SQL)
        run(CHECKS_SQL)
        for name, every in TAGS.items():
            run(TAGGED_SQL, tag=tags[name].pk, every=every)
        run(MESSAGES_SQL)
        run(COUNTS_SQL.format(counts=", ".join(counts), sums=", ".join(sums)))
        run(REPLIES_SQL)
        run(REPLIED_SQL)
        for table, parts in METERS.items():
            run(METERS_SQL.format(table=table, **parts))
        cursor.execute("VACUUM ANALYZE")
    return campaign
