//! HTTP dates (RFC 9110 section 5.6.7): the three forms that a recipient must accept, and the one
//! that is written.

/// Seconds from the Unix epoch.
pub type Seconds = u64;

const MONTHS: [&[u8; 3]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];
const SHORT_DAYS: [&[u8]; 7] = [b"sun", b"mon", b"tue", b"wed", b"thu", b"fri", b"sat"];
const LONG_DAYS: [&[u8]; 7] = [
    b"sunday",
    b"monday",
    b"tuesday",
    b"wednesday",
    b"thursday",
    b"friday",
    b"saturday",
];
const SECONDS_PER_DAY: u64 = 86_400;

/// Reads a date in any of the three forms; a date before 1970 is the epoch.
///
/// Names of days and months are compared without case, which changes no date's meaning; everything
/// else that the grammar doesn't have is no date. `now` tells the century of a two-digit year: one
/// that appears to be more than 50 years in the future is in the past.
pub fn parse(text: &[u8], now: Seconds) -> Option<Seconds> {
    /// More than any of the three takes.
    const LONGEST: usize = 40;
    let text = text.trim_ascii();
    let mut lower = [0; LONGEST];
    let lower = lower.get_mut(..text.len())?;
    lower.copy_from_slice(text);
    lower.make_ascii_lowercase();
    let comma = lower.iter().position(|&byte| byte == b',');
    match comma {
        Some(3) => imf_fixdate(lower),
        Some(at) => rfc850(lower, at, now),
        None => asctime(lower),
    }
}

/// Writes a date in the form that senders must use: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn format(at: Seconds) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const NAMES: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = at.checked_div(SECONDS_PER_DAY).unwrap_or_default();
    let rest = at.checked_rem(SECONDS_PER_DAY).unwrap_or_default();
    let (year, month, day) = civil(days);
    let pick = |names: &[&'static str], at: u64| {
        let at = usize::try_from(at).ok();
        at.and_then(|at| names.get(at)).copied().unwrap_or_default()
    };
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        pick(&DAYS, days.checked_rem(7).unwrap_or_default()),
        pick(&NAMES, month.saturating_sub(1)),
        rest.checked_div(3_600).unwrap_or_default(),
        rest.checked_div(60)
            .and_then(|minutes| minutes.checked_rem(60))
            .unwrap_or_default(),
        rest.checked_rem(60).unwrap_or_default(),
    )
}

/// `sun, 06 nov 1994 08:49:37 gmt`.
fn imf_fixdate(text: &[u8]) -> Option<Seconds> {
    let (day_name, rest) = text.split_at_checked(3)?;
    known(day_name, &SHORT_DAYS)?;
    let rest = rest.strip_prefix(b", ")?;
    let (day, rest) = digits(rest, 2)?;
    let (month, rest) = month(rest.strip_prefix(b" ")?)?;
    let (year, rest) = digits(rest.strip_prefix(b" ")?, 4)?;
    let time = time_of_day(rest.strip_prefix(b" ")?.strip_suffix(b" gmt")?)?;
    seconds(year, month, day, time)
}

/// `sunday, 06-nov-94 08:49:37 gmt`.
fn rfc850(text: &[u8], comma: usize, now: Seconds) -> Option<Seconds> {
    let (day_name, rest) = text.split_at_checked(comma)?;
    known(day_name, &LONG_DAYS)?;
    let (day, rest) = digits(rest.strip_prefix(b", ")?, 2)?;
    let (month, rest) = month(rest.strip_prefix(b"-")?)?;
    let (short, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
    let time = time_of_day(rest.strip_prefix(b" ")?.strip_suffix(b" gmt")?)?;
    let (this_year, ..) = civil(now.checked_div(SECONDS_PER_DAY)?);
    let century = this_year.saturating_sub(this_year.checked_rem(100)?);
    let year = century.saturating_add(short);
    let year = if year > this_year.saturating_add(50) {
        year.saturating_sub(100)
    } else {
        year
    };
    seconds(year, month, day, time)
}

/// `sun nov  6 08:49:37 1994`.
fn asctime(text: &[u8]) -> Option<Seconds> {
    let (day_name, rest) = text.split_at_checked(3)?;
    known(day_name, &SHORT_DAYS)?;
    let (month, rest) = month(rest.strip_prefix(b" ")?)?;
    let rest = rest.strip_prefix(b" ")?;
    let (day, rest) = match rest.strip_prefix(b" ") {
        Some(single) => digits(single, 1)?,
        None => digits(rest, 2)?,
    };
    let (clock, rest) = rest.strip_prefix(b" ")?.split_at_checked(8)?;
    let (year, rest) = digits(rest.strip_prefix(b" ")?, 4)?;
    rest.is_empty().then_some(())?;
    seconds(year, month, day, time_of_day(clock)?)
}

fn known(name: &[u8], names: &[&[u8]]) -> Option<()> {
    names.contains(&name).then_some(())
}

fn month(text: &[u8]) -> Option<(u64, &[u8])> {
    let (name, rest) = text.split_at_checked(3)?;
    let at = MONTHS.iter().position(|month| **month == *name)?;
    Some((u64::try_from(at).ok()?.checked_add(1)?, rest))
}

fn digits(text: &[u8], count: usize) -> Option<(u64, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    // Four digits at most.
    let mut number: u32 = 0;
    for &digit in digits {
        let digit = char::from(digit).to_digit(10)?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    Some((u64::from(number), rest))
}

/// `08:49:37` in seconds; 60 is a leap second, which counts as the one before it.
fn time_of_day(text: &[u8]) -> Option<u64> {
    let (hour, rest) = digits(text, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let valid = rest.is_empty() && hour < 24 && minute < 60 && second <= 60;
    valid.then_some(())?;
    // A day's seconds at most.
    let minutes = hour.wrapping_mul(60).wrapping_add(minute);
    Some(minutes.wrapping_mul(60).wrapping_add(second.min(59)))
}

fn seconds(year: u64, month: u64, day: u64, time: u64) -> Option<Seconds> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    if day == 0 || day > longest {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    let small = |number| u32::try_from(number).ok();
    let days = days_from_civil(small(year)?, small(month)?, small(day)?)?;
    // Ten thousand years of them fit.
    let seconds = u64::from(days).wrapping_mul(SECONDS_PER_DAY);
    Some(seconds.wrapping_add(time))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, by counting years from March.
fn days_from_civil(year: u32, month: u32, day: u32) -> Option<u32> {
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let from_march = if month > 2 {
        month.checked_sub(3)?
    } else {
        month.checked_add(9)?
    };
    let in_year = from_march
        .checked_mul(153)?
        .checked_add(2)?
        .checked_div(5)?
        .checked_add(day)?
        .checked_sub(1)?;
    let leap_days = year.checked_div(4)?.checked_sub(year.checked_div(100)?)?;
    let leap_days = leap_days.checked_add(year.checked_div(400)?)?;
    // 719,468 days lie between the first of March of the year 0 and the epoch.
    year.checked_mul(365)?
        .checked_add(leap_days)?
        .checked_add(in_year)?
        .checked_sub(719_468)
}

/// Year, month and day that many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // 146,097 days are 400 years; within those, counted from March, the year follows from the day.
    let div = |a: u64, b: u64| a.checked_div(b).unwrap_or_default();
    let shifted = days.saturating_add(719_468);
    let era = div(shifted, 146_097);
    let of_era = shifted.saturating_sub(era.saturating_mul(146_097));
    let skipped = div(of_era, 1_460)
        .saturating_add(div(of_era, 146_096))
        .saturating_sub(div(of_era, 36_524));
    let year_of_era = div(of_era.saturating_sub(skipped), 365);
    let before = year_of_era
        .saturating_mul(365)
        .saturating_add(div(year_of_era, 4))
        .saturating_sub(div(year_of_era, 100));
    let of_year = of_era.saturating_sub(before);
    let from_march = div(of_year.saturating_mul(5).saturating_add(2), 153);
    let day = of_year
        .saturating_sub(div(from_march.saturating_mul(153).saturating_add(2), 5))
        .saturating_add(1);
    let month = if from_march < 10 {
        from_march.saturating_add(3)
    } else {
        from_march.saturating_sub(9)
    };
    let year = era.saturating_mul(400).saturating_add(year_of_era);
    let year = if month <= 2 {
        year.saturating_add(1)
    } else {
        year
    };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-29.
    const NOW: Seconds = 1_795_910_400;

    #[test]
    fn a_recipient_must_accept_all_three_date_formats() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn a_two_digit_year_more_than_50_years_ahead_is_in_the_past() {
        let year = |text: &str| format(parse(text.as_bytes(), NOW).expect(text));
        assert_eq!(
            year("Thursday, 18-Aug-50 02:01:18 GMT"),
            "Thu, 18 Aug 2050 02:01:18 GMT"
        );
        assert_eq!(
            year("Thursday, 18-Aug-99 02:01:18 GMT"),
            "Wed, 18 Aug 1999 02:01:18 GMT"
        );
    }

    #[test]
    fn names_are_compared_without_case() {
        for text in [
            "THU, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 AUG 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 gMT",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), Some(2_544_400_878), "{text}");
        }
    }

    #[test]
    fn what_the_grammar_does_not_have_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "foo",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:60:18 GMT",
            "Thu, 18 Aug 2050 02:01:61 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Foo, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18",
            "\u{ff}",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), None, "{text}");
        }
    }

    #[test]
    fn dates_before_the_epoch_are_the_epoch() {
        assert_eq!(parse(b"Wed, 31 Dec 1969 23:59:59 GMT", NOW), Some(0));
        assert_eq!(parse(b"Thu, 01 Jan 1970 00:00:00 GMT", NOW), Some(0));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(at in 0_u64..253_402_300_800) {
            prop_assert_eq!(parse(format(at).as_bytes(), NOW), Some(at));
        }

        #[test]
        fn any_bytes_are_a_date_or_not(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&text, NOW);
        }
    }
}
