"""Contacts are found by the words of their name, the end of their number and the values of their fields."""

from django.db import migrations

# What stands between words; a name never holds the mark of a number's end, and each becomes a blank.
BETWEEN_WORDS = (
    "-'`.,;:!?()[]{}<>/\\|\"&_+*#@~="
    "\u00a0\u00ab\u00b4\u00b7\u00bb\u060c\u2013\u2014\u2018\u2019\u201c\u201d\u2022\u3000\u3001\u3002\u30fb\t\r\n"
)

# Plain expressions of built-in functions, which PostgreSQL writes out into the statement and the index.
SEARCH_SQL = """
CREATE FUNCTION campaigns_words_of(name text, phone text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_to_tsvector(
        array_remove(string_to_array(translate(lower(name), {between}, {blanks}), ' '), '')
        || ('+' || reverse(right(phone, 4))))
$$;
CREATE FUNCTION campaigns_in_small_letters(fields jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(fields::text)::jsonb
$$;
CREATE INDEX contacts_by_word ON campaigns_contact USING gin (campaigns_words_of(name, phone));
CREATE INDEX contacts_by_field ON campaigns_contact USING gin (campaigns_in_small_letters(fields) jsonb_path_ops);
""".format(
    between="E'" + BETWEEN_WORDS.replace("\\", "\\\\").replace("'", "\\'") + "'",
    blanks="'" + " " * len(BETWEEN_WORDS) + "'",
)
UNDO_SQL = """
DROP INDEX contacts_by_field;
DROP INDEX contacts_by_word;
DROP FUNCTION campaigns_in_small_letters(jsonb);
DROP FUNCTION campaigns_words_of(text, text);
"""


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0015_meter_totals")]

    operations = [migrations.RunSQL(SEARCH_SQL, UNDO_SQL)]
