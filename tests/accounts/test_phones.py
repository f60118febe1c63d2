"""Phone cells become E.164 or a sentence that says why not."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import NumberParseException, PhoneNumberFormat

from accounts.phones import BadPhone, to_e164

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("012-345 6789", "MY", "+60123456789"),
        ("0123456789", "MY", "+60123456789"),
        ("60123456789", "MY", "+60123456789"),
        ("123456789", "MY", "+60123456789"),
        ("+60 12-345 6789", "US", "+60123456789"),
        ("  +60123456789\t", "MY", "+60123456789"),
        ("+ 60123456789", "MY", "+60123456789"),
        ("0060123456789", "MY", "+60123456789"),
        ("00 60 (12) 345-6789", "US", "+60123456789"),
        ("004915123456577", "BR", "+4915123456577"),
        ("+٦٠١٢٣٤٦٤٩٣٧", "MY", "+60123464937"),
        ("+60123456789", "MY", "+60123456789"),
        ("०१२३४५६७८९", "MY", "+60123456789"),
        ("\u202a+60 12\u2011345 6789\u202c", "MY", "+60123456789"),
        ("\u200b+60123456789\ufeff", "MY", "+60123456789"),
        ('="+60123456789"', "MY", "+60123456789"),
        ("'+60123456789", "MY", "+60123456789"),
        ("tel:+60123456789", "MY", "+60123456789"),
        ("WhatsApp: 012.345.6789", "MY", "+60123456789"),
        ("60123456789.0", "MY", "+60123456789"),
        ("60123456789,00", "MY", "+60123456789"),
        ("(201) 555-9043", "US", "+12015559043"),
        ("020 7946 0958", "GB", "+442079460958"),
        ("+44 (0)20 7946 0958", "MY", "+442079460958"),
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("8 912 345-67-89", "RU", "+79123456789"),
        ("11 96122-3536", "BR", "+5511961223536"),
        ("+39 06 698 1234", "MY", "+39066981234"),
        ("0812-3456-7890", "ID", "+6281234567890"),
        ("+60 3-2161 1000 ext. 12", "MY", "+60321611000"),
    ],
)
def test_what_people_write_becomes_one_number(text, region, number) -> None:
    assert to_e164(text, region) == number


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "No phone number"),
        ("   ", "No phone number"),
        ("\u200b", "No phone number"),
        ("6.01E+10", "shortened by a spreadsheet"),
        ("6,01E+10", "shortened by a spreadsheet"),
        ("6.0123456e10", "shortened by a spreadsheet"),
        ("call me", "is not a phone number"),
        ("-", "is not a phone number"),
        ("N/A", "is not a phone number"),
        ("#N/A", "is not a phone number"),
        ("12", "too short"),
        ("+999999999999999999", "not a valid phone number"),
        ("447400138738", "not a valid number in MY: write it with +"),
        ("012-345 6789 / 013-345 6789", "more than one number"),
        ("012-345 6789\n013-345 6789", "more than one number"),
        ("1-800-FLOWERS", "is not a phone number"),
        ("+60123456789" * 50, "too long"),
        ("=1+1", "too short"),
        ("=cmd|'/c calc'!A1", "is not a phone number"),
        ("+60123456789\0" * 9, "too long"),
    ],
)
def test_what_is_no_number_is_refused_with_a_reason(text, reason) -> None:
    with pytest.raises(BadPhone, match=r".") as refused:
        to_e164(text, "MY")
    assert reason in str(refused.value)
    assert len(str(refused.value)) <= 200


def asked(text: str, region: str) -> str:
    try:
        return to_e164(text, region)
    except BadPhone as refused:
        return str(refused)


def by_the_book(text: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


@st.composite
def plausible(draw) -> tuple[str, str]:
    """Numbers near real ones: an example of a country with some digits changed, dropped or doubled."""
    region = draw(st.sampled_from(REGIONS))
    example = phonenumbers.example_number_for_type(region, draw(st.sampled_from([0, 1, 2, 3, 6])))
    national = phonenumbers.national_significant_number(example) if example else "123456789"
    kept = draw(st.integers(0, len(national)))
    national = national[:kept] + draw(st.text("0123456789", max_size=len(national) - kept + 1))
    code = phonenumbers.country_code_for_region(region)
    shape = draw(st.sampled_from(["+{c}{n}", "+{c} {n}", "+{c}-(0){n}", "0{n}", "{n}", "8{n}", "{c}{n}", " ({n})"]))
    return shape.format(c=code, n=national), region


@given(plausible())
def test_the_fast_path_answers_as_phonenumbers_does(case) -> None:
    text, region = case
    if text.startswith("00"):
        return  # there we deliberately read more: see test_what_people_write_becomes_one_number
    ours, theirs = asked(text, region), by_the_book(text, region)
    assert ours == theirs or (theirs is None and not ours.startswith("+"))


@given(st.text(max_size=60), st.sampled_from(REGIONS))
def test_any_text_is_a_valid_number_or_a_short_sentence(text, region) -> None:
    answer = asked(text, region)
    if answer.startswith("+"):
        assert by_the_book(answer, region) == answer
    else:
        assert 0 < len(answer) <= 200


@given(plausible())
def test_a_number_in_its_final_form_stays_as_it_is(case) -> None:
    number = asked(*case)
    if number.startswith("+"):
        assert to_e164(number, "US") == number
