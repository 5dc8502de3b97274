"""Numbers that are a person's: telephones, identity cards, payment cards, bank accounts. A recogniser answers where its find ends, 0 for none."""

from __future__ import annotations

from typing import Any

from numba import types

from lilong.floors.corpus.curation.characters import BYTES, array, signed
from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.personal.kinds import (
    DIGIT,
    UPPER,
    WORD,
)
from lilong.floors.corpus.curation.personal.reading import byte_at, number, run_end

_int, _bool = types.int64, types.boolean
_U8, _U8M, _U64, _I64, _I64M = array(types.uint8), array(types.uint8, 2), array(types.uint64), array(types.int64), array(types.int64, 2)


@compiled(_bool(BYTES, _int, _U8))
def resident(data: Any, at: int, provinces: Any) -> bool:
    """18 places of GB 11643-1999: province, a date of 1900 to 2099, and the ISO 7064 MOD 11-2 check character."""
    if not provinces[number(data, at, at + 2)]:
        return False
    year, month, day = number(data, at + 6, at + 10), number(data, at + 10, at + 12), number(data, at + 12, at + 14)
    if year < 1900 or year > 2099 or month < 1 or month > 12 or day < 1:
        return False
    days = 30 if month in (4, 6, 9, 11) else 31
    if month == 2:
        days = 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    total = 0
    for place in range(17):
        total = (total + signed(data[at + place]) - 48) * 2 % 11
    check = (12 - total) % 11
    return day <= days and (data[at + 17] in (88, 120) if check == 10 else data[at + 17] == 48 + check)


@compiled(_bool(_I64, _int))
def _card(digits: Any, count: int) -> bool:
    """ISO/IEC 7812: an issuer range with its lengths, Luhn, and at least four different digits (test numbers have fewer)."""
    two, four, used = digits[0] * 10 + digits[1], 0, 0
    for place in range(4):
        four = four * 10 + digits[place]
    for place in range(count):
        used |= 1 << digits[place]
    different = 0
    for digit in range(10):
        different += used >> digit & 1
    known = (
        (digits[0] == 4 and count in (16, 19))
        or (count == 16 and (51 <= two <= 55 or 2221 <= four <= 2720 or 2200 <= four <= 2204 or 3528 <= four <= 3589))
        or (count == 15 and two in (34, 37))
        or (count == 14 and (two in (36, 38, 39) or 3000 <= four <= 3059))
        or (count >= 16 and (two in (62, 65) or four == 6011 or 6440 <= four <= 6499))
    )
    total = 0
    for place in range(count):
        digit = digits[count - 1 - place]
        if place & 1:
            digit = digit * 2 - 9 * (digit > 4)
        total += digit
    return known and total % 10 == 0 and different > 3


@compiled(_bool(_I64, _int, _int, _U8))
def _mainland(digits: Any, first: int, count: int, mobile: Any) -> bool:
    """A national number of mainland China without its trunk 0: a mobile one, or an area code and seven or eight digits."""
    if count - first == 11 and digits[first] == 1:
        return bool(mobile[digits[first] * 100 + digits[first + 1] * 10 + digits[first + 2]] == 1)
    area = 2 if digits[first] == 2 or (digits[first] == 1 and digits[first + 1] == 0) else 3
    local = count - first - area
    return digits[first] != 1 + (area == 2) * 10 and (local == 8 or (local == 7 and area == 3)) and 2 <= digits[first + area] <= 8


@compiled(_bool(_I64, _int, _U8, _U8))
def _e164(digits: Any, count: int, calling: Any, mobile: Any) -> bool:
    """An assigned country code and a national number as long as numbers are; strict where the plan is known (1, 7, 86)."""
    if digits[0] == 1:
        fictional = digits[4] == 5 and digits[5] == 5 and digits[6] == 5 and digits[7] == 0 and digits[8] == 1
        return count == 11 and digits[1] > 1 and digits[4] > 1 and not fictional
    if digits[0] == 7:
        return count == 11 and digits[1] > 2
    if digits[0] == 8 and digits[1] == 6:
        return count >= 12 and _mainland(digits, 2, count, mobile)
    two = digits[0] * 10 + digits[1]
    return 10 <= count <= 14 and (calling[two] == 1 or calling[two * 10 + digits[2]] == 1)


@compiled(_int(BYTES, _int, _int, _int, _U8, _U8, _U8, _I64))
def international(data: Any, at: int, start: int, end: int, flags: Any, calling: Any, mobile: Any, digits: Any) -> int:
    """The number after the + at `at`: digits parted by single blanks, hyphens, dots or brackets; the longest run of groups that holds."""
    place, count, found = at + 1, 0, 0
    while place < end and count < 15:
        close = run_end(data, place, end, flags, DIGIT)
        if close == place or count + close - place > 15:
            break
        for digit in range(place, close):
            digits[count] = signed(data[digit]) - 48
            count += 1
        place = close
        following = byte_at(data, place, start, end)
        if count >= 9 and not flags[following] & WORD and following != 43 and _e164(digits, count, calling, mobile):
            found = place
        step = 0
        while step < 3 and byte_at(data, place + step, start, end) in (32, 40, 41, 45, 46):
            step += 1
        if step in (0, 3) or (byte_at(data, place, start, end) == 46 and step > 1):
            break
        place += step
    return found


@compiled(_bool(BYTES, _int, _int, _int, _U8))
def _mobile(data: Any, at: int, start: int, end: int, flags: Any) -> bool:
    """Do 11 digits stand here by themselves, of which the first is a 1? So two numbers are often given: 138…/139…"""
    if flags[byte_at(data, at - 1, start, end)] & WORD or byte_at(data, at, start, end) != 49:
        return False
    return bool(run_end(data, at, min(end, at + 12), flags, DIGIT) == at + 11)


@compiled(_bool(BYTES, _int, _int, _int, _U8))
def joined(data: Any, at: int, start: int, end: int, flags: Any) -> bool:
    """Is the number at `at` a part of something longer: a path, a fraction, a code? A hyphen or slash behind a Chinese word parts the two."""
    before = byte_at(data, at - 1, start, end)
    if before in (45, 47) and byte_at(data, at - 2, start, end) >= 128:
        return False
    return before in (35, 36, 37, 38, 42, 43, 45, 46, 47, 64) and not (before == 47 and _mobile(data, at - 12, start, end, flags))


@compiled(_int(BYTES, _int, _int, _int, _int, _U8, _U8, _I64))
def domestic(data: Any, at: int, close: int, start: int, end: int, flags: Any, mobile: Any, digits: Any) -> int:
    """A number of mainland China as it is written there: 13x…, 13x-xxxx-xxxx, 86 13x…, 0xx-xxxxxxxx, (0xx)xxxxxxxx, in brackets of any width."""
    size, before = close - at, byte_at(data, at - 1, start, end)
    if size > 15 or joined(data, at, start, end, flags):
        return 0
    place = at
    if size in (13, 15) and data[close - 13] == 56 and data[close - 12] == 54 and (size == 13 or (data[at] == 48 and data[at + 1] == 48)):
        place = close - 11
    elif size in (2, 4) and data[close - 2] == 56 and data[close - 1] == 54 and byte_at(data, close, start, end) in (32, 45):
        place = close + 1
    group, mark = run_end(data, place, end, flags, DIGIT), 0
    count = group - place
    if count > 12:
        return 0
    for digit in range(count):
        digits[digit] = signed(data[place + digit]) - 48
    if (count == 3 and data[place] == 49) or (count in (3, 4) and data[place] == 48):
        mark, label = byte_at(data, group, start, end), at - 1
        while label >= start and data[label] == 32:
            label -= 1
        labelled = place > at or byte_at(data, label, start, end) == 58 or byte_at(data, label, start, end) >= 128
        wide = before == 0x88 and mark == 0xEF and byte_at(data, group + 1, start, end) == 0xBC
        wide = wide and byte_at(data, group + 2, start, end) == 0x89
        if wide:  # full-width brackets
            mark, group = 41, group + 2
        close_bracket = mark == 41 and (before == 40 or wide) and data[place] == 48
        if not (mark == 45 or (mark == 32 and labelled) or close_bracket):
            return 0
        group += 1
        group += close_bracket and byte_at(data, group, start, end) == 32
        for part in range(2):
            close = run_end(data, group, min(end, group + 9), flags, DIGIT)
            if count + close - group > 12:
                return 0
            for digit in range(group, close):
                digits[count] = signed(data[digit]) - 48
                count += 1
            four, group = close - group == 4, close
            again = four and part == 0 and mark != 41 and byte_at(data, close, start, end) == mark
            if not again or count > 8 or not flags[byte_at(data, close + 1, start, end)] & DIGIT:
                break
            group = close + 1
    if count == 0 or (digits[0] == 0 and count < 10) or (digits[0] == 1 and count != 11) or digits[0] > 1:
        return 0
    if digits[0] == 0 and group - place == count:
        return 0  # an area code is set apart
    if group - place == 11 and number(data, place, group) == 17_179_869_184:
        return 0  # 2 to the 34th
    following = byte_at(data, group, start, end)
    goes_on = flags[following] & WORD or (following in (37, 42, 46, 47, 64) and flags[byte_at(data, group + 1, start, end)] & WORD)
    if goes_on and not (following == 47 and _mobile(data, group + 1, start, end, flags)):
        return 0
    if (following == 45 and digits[0] == 1) or (following == 32 and mark == 32 and flags[byte_at(data, group + 1, start, end)] & DIGIT):
        return 0
    zeros = 0
    while digits[count - 1 - zeros] == 0 and zeros < count - 1:
        zeros += 1
    first = 1 if digits[0] == 0 else 0
    return group if zeros < 6 and _mainland(digits, first, count, mobile) else 0


@compiled(_int(BYTES, _int, _int, _int, _U8, _I64))
def bank_card(data: Any, at: int, start: int, end: int, flags: Any, digits: Any) -> int:
    """A card number in one piece, or as cards print it: fours, 4-6-5, 4-6-4, 6-13."""
    place, count, groups, shape = at, 0, 0, 0
    mark = 0
    while True:
        close = run_end(data, place, min(end, place + 20), flags, DIGIT)
        size = close - place
        if size == 0 or count + size > 19:
            return 0
        for digit in range(place, close):
            digits[count] = signed(data[digit]) - 48
            count += 1
        groups += 1
        shape = shape * 20 + size
        place = close
        following = byte_at(data, place, start, end)
        if following not in (32, 45) or mark not in (0, following) or not flags[byte_at(data, place + 1, start, end)] & DIGIT:
            break
        if groups == 1 and size >= 14 and following == 32:
            break
        mark = following
        place += 1
    if count < 14:
        return 0
    if groups > 1:
        before = byte_at(data, at - 1, start, end)
        fours = True
        rest = shape // 20
        while rest > 0:
            fours = fours and rest % 20 == 4
            rest //= 20
        if not (fours and shape % 20 <= 4) and shape not in (4 * 400 + 6 * 20 + 5, 4 * 400 + 6 * 20 + 4, 6 * 20 + 13):
            return 0
        if before in (32, 45) and flags[byte_at(data, at - 2, start, end)] & DIGIT:
            return 0
    following = byte_at(data, place, start, end)
    if flags[following] & WORD or (following in (37, 42, 45, 46, 47, 64) and flags[byte_at(data, place + 1, start, end)] & WORD):
        return 0
    return place if _card(digits, count) else 0


@compiled(_int(BYTES, _int, _int, _int, _U8, _I64))
def iban_end(data: Any, at: int, start: int, end: int, flags: Any, lengths: Any) -> int:
    """ISO 13616: in one piece or in fours; the four first characters moved to the end, letters as 10 to 35, leave 1 modulo 97."""
    wanted = lengths[26 * (signed(data[at]) - 65) + signed(data[at + 1]) - 65]
    if wanted == 0:
        return 0
    place, count, remainder, head = at, 0, 0, 0
    parted = byte_at(data, at + 4, start, end) == 32
    while count < wanted:
        if parted and count > 0 and count % 4 == 0:
            if byte_at(data, place, start, end) != 32:
                return 0
            place += 1
        byte = byte_at(data, place, start, end)
        if not flags[byte] & (DIGIT | UPPER):
            return 0
        value = byte - 48 if byte < 58 else byte - 55
        if count < 4:
            head = head * (10 if value < 10 else 100) + value
        else:
            remainder = (remainder * (10 if value < 10 else 100) + value) % 97
        place += 1
        count += 1
    if flags[byte_at(data, place, start, end)] & WORD:
        return 0
    return place if (remainder * 1_000_000 + head) % 97 == 1 else 0
