//! Points in time as manifests write them: ISO 8601 in UTC, `2026-11-24T08:14:45.123456Z`.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys;

/// When the statement began.
pub fn statement_start() -> String {
    // SAFETY: reads a variable of the backend.
    text(unsafe { pg_sys::GetCurrentStatementStartTimestamp() })
}

/// The time by now.
pub fn now() -> String {
    // SAFETY: asks for the time.
    text(unsafe { pg_sys::GetCurrentTimestamp() })
}

fn text(time: pg_sys::TimestampTz) -> String {
    match TimestampWithTimeZone::try_from(time) {
        Ok(time) => {
            let utc = time.to_utc();
            format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:09.6}Z",
                utc.year(),
                utc.month(),
                utc.day(),
                utc.hour(),
                utc.minute(),
                utc.second()
            )
        }
        Err(_) => String::new(),
    }
}

/// Reads what [`statement_start`] writes; nothing else.
pub fn parse(text: &str) -> Option<TimestampWithTimeZone> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = fields(date, '-')?;
    let [hour, minute, second] = fields(time, ':')?;
    TimestampWithTimeZone::with_timezone(
        year.parse().ok().filter(|year| (1..=9999).contains(year))?,
        month.parse().ok()?,
        day.parse().ok()?,
        hour.parse().ok()?,
        minute.parse().ok()?,
        second.parse().ok().filter(|second| (0.0..60.0).contains(second))?,
        "UTC",
    )
    .ok()
}

fn fields(text: &str, separator: char) -> Option<[&str; 3]> {
    text.split(separator).collect::<Vec<_>>().try_into().ok()
}
