//! One function per parser of what comes from outside or from Redis: it takes any bytes, must not panic, and checks what
//! holds of whatever is accepted. The fuzz targets and `tests/parsers.rs` share them.
#![allow(dead_code)]

use quotagate::cli::config_file::ConfigFile;
use quotagate::domain::accounts::custom_limits::CustomLimits;
use quotagate::domain::configuration::plan::Plan;
use quotagate::domain::configuration::plan_body::PlanBody;
use quotagate::domain::configuration::policy_body::PolicyBody;
use quotagate::domain::metering::reservation::{OperationName, ReservationId};
use quotagate::domain::time::window::{Window, parse_rfc3339, rfc3339};
use quotagate::domain::values::amount::{Amount, Unit, parse_decimal};
use quotagate::domain::values::ids::{AppId, EventName, IdempotencyKey, Mode, PlanId, UserId};
use quotagate::domain::values::{document, glob};
use quotagate::domain::webhooks::webhook::WebhookBody;
use quotagate::http::wire::cursor;
use quotagate::service::access::key_record::is_plausible;
use quotagate::service::reporting::events::id::EventId;
use quotagate::store::keys::{Bucket, decode, encode};
use quotagate::store::metering::record::Record;
use quotagate::store::reading;
use serde_json::json;

/// Reads bytes from anywhere; panics if what comes out breaks a rule.
pub type Parser = fn(&[u8]);

/// Each with the name of its fuzz target.
pub const ALL: [(&str, Parser); 10] = [
    ("amounts", amounts),
    ("globs", globs),
    ("periods", periods),
    ("documents", documents),
    ("records", records),
    ("names", names),
    ("reservation_ids", reservation_ids),
    ("replies", replies),
    ("ledger_entries", ledger_entries),
    ("cursors", cursors),
];

/// The parsers of text never see anything else: HTTP and Redis answers are checked before.
fn text(data: &[u8]) -> &str {
    match std::str::from_utf8(data) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&data[..error.valid_up_to()]).unwrap_or_default(),
    }
}

pub fn amounts(data: &[u8]) {
    let Ok(value) = parse_decimal(text(data)) else { return };
    for unit in [Unit::Count, Unit::Tokens, Unit::Seconds, Unit::Cents] {
        let (exact, rounded) = (Amount::exactly(value, unit), Amount::rounded_up(value, unit));
        if let Ok(exact) = exact {
            assert_eq!(exact.to_decimal(unit), value);
            assert_eq!(rounded.ok(), Some(exact));
        } else if let Ok(rounded) = rounded {
            assert!(rounded.to_decimal(unit) > value);
        }
    }
}

/// A pattern, and on the next line what it is tried on.
pub fn globs(data: &[u8]) {
    let (pattern, tried) = text(data).split_once('\n').unwrap_or_default();
    // No event name or pattern is longer.
    if pattern.len() > 128 || tried.len() > 128 {
        return;
    }
    assert_eq!(glob::overlap(pattern, tried), glob::overlap(tried, pattern));
    if glob::matches(pattern, tried) {
        assert!(glob::overlap(pattern, tried));
    }
    assert!(glob::matches(tried, tried) && glob::matches("*", tried));
}

/// A line each for kind, anchor, `every`, start, end and time zone.
pub fn periods(data: &[u8]) {
    let text = text(data);
    let mut lines = text.lines();
    let mut plan = json!({"groups": [{"id": "g", "unit": "count", "quota": 5, "matches": [{"event": "image.*"}]}]});
    for name in ["periodType", "periodAnchor", "every", "start", "end", "timezone"] {
        if let Some(line) = lines.next().filter(|line| !line.is_empty()) {
            plan[name] = line.into();
        }
    }
    if let (Ok(body), Ok(id)) = (document::read::<PlanBody>(plan.to_string().as_bytes()), PlanId::parse("p")) {
        let faults = Plan::validate(&id, 1, body).err().unwrap_or_default();
        assert!(faults.iter().all(|fault| !fault.field.is_empty()));
    }
    if let Some(window) = Window::parse(text) {
        assert_eq!(Window::parse(&window.to_text()), Some(window));
    }
    if let Some(at_ms) = parse_rfc3339(text) {
        assert_eq!(parse_rfc3339(&rfc3339(at_ms)), Some(at_ms));
    }
}

/// Bodies and configuration files.
pub fn documents(data: &[u8]) {
    let faults = [
        document::read::<PlanBody>(data).err(),
        document::read::<PolicyBody>(data).err(),
        document::read::<WebhookBody>(data).map(|webhook| webhook.faults()).err(),
    ];
    for faults in faults.into_iter().flatten() {
        assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.field.is_empty()));
    }
    if let Ok(value) = serde_json::from_slice(data) {
        let _ = CustomLimits::parse(&value);
    }
    let text = text(data);
    // YAML begins a line behind a carriage return too.
    let lines = text.split(['\n', '\r']).count() + 1;
    match ConfigFile::parse(text) {
        Ok(file) => assert!(file.line_of("plans[0].id").is_none_or(|line| line <= lines)),
        Err(error) => assert!(error.line <= lines),
    }
}

/// What scripts leave in Redis, and key names.
pub fn records(data: &[u8]) {
    let text = text(data);
    let _ = Record::parse(text);
    let _ = Record::parse(&format!("reservation\nfingerprint\n{text}"));
    let _ = decode(text);
    assert_eq!(decode(&encode(text)).as_deref(), Some(text));
}

pub fn names(data: &[u8]) {
    let text = text(data);
    let read = [
        UserId::parse(text).map(|name| name.to_string()),
        EventName::parse(text).map(|name| name.to_string()),
        PlanId::parse(text).map(|name| name.to_string()),
        IdempotencyKey::parse(text).map(|name| name.to_string()),
    ];
    assert!(read.iter().flatten().all(|name| name == text && !name.chars().any(char::is_control)));
    if let Ok(mode) = Mode::parse(text) {
        assert_eq!(Mode::parse(&mode.to_string()), Ok(mode));
    }
    assert!(!is_plausible(text) || (3..=256).contains(&text.len()));
}

pub fn reservation_ids(data: &[u8]) {
    let text = text(data);
    assert!(ReservationId::parse(text).is_none_or(|id| id.to_string() == text));
    assert!(OperationName::parse(text).is_none_or(|name| name.as_str() == text));
}

fn bucket() -> Bucket {
    Bucket::whole(&AppId::parse("a").expect("a name"), &Mode::Live)
}

/// A byte for how many groups the call had, then a line for the function, and one for each field. Also as a record that
/// a repetition meets.
pub fn replies(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else { return };
    let mut lines = rest.split(|byte| *byte == b'\n');
    let name = lines.next().unwrap_or_default();
    let Some(function) = reading::FUNCTIONS.iter().find(|function| function.as_bytes() == name) else { return };
    let fields: Vec<&[u8]> = lines.collect();
    let count = usize::from(*count % 8);
    let _ = reading::reply(function, count, &bucket(), &fields);
    let record = fields.join(&b'\n');
    for kind in [&b"answer"[..], b"reservation"] {
        let kept = [kind, b"-", &record].join(&b'\n');
        let _ = reading::reply(function, count, &bucket(), &[b"replayed", &kept]);
    }
    let texts: Vec<&str> = fields.iter().filter_map(|field| std::str::from_utf8(field).ok()).collect();
    let _ = reading::user(&texts, 1_795_228_329_143);
}

/// A line for each name and value of a field; an empty line ends an entry. None may stop whoever reads the others.
pub fn ledger_entries(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    // Redis' entries have as many names as values, and not none.
    let mut entries: Vec<Vec<&[u8]>> = lines.split(|line| line.is_empty()).map(<[&[u8]]>::to_vec).collect();
    entries.iter_mut().for_each(|entry| entry.truncate(entry.len() / 2 * 2));
    entries.retain(|entry| !entry.is_empty());
    assert!(reading::entries(&bucket(), &entries).expect("what cannot be read is left out") <= entries.len());
    entries.push(["type", "track", "at", "1795228329143"].map(str::as_bytes).to_vec());
    assert!(reading::entries(&bucket(), &entries).expect("what cannot be read is left out") > 0);
}

/// Where pages begin: what is read is told so again, and asks Redis for nothing that it refuses.
pub fn cursors(data: &[u8]) {
    let text = text(data);
    if let Some(place) = cursor::place(text) {
        assert!(place.offset <= i64::MAX as usize / 2);
        assert_eq!(cursor::place(&cursor::place_text(place)), Some(place));
    }
    assert!(cursor::offset(text).is_none_or(|offset| offset <= i64::MAX as usize / 2));
    if let Some(id) = cursor::entry(text) {
        assert!((id.time_ms, id.number) > (0, 0));
        assert_eq!(cursor::entry(&cursor::entry_text(id)), Some(id));
    }
    if let Some(found) = cursor::audit(text) {
        assert_eq!(cursor::audit(&cursor::audit_text(found)), Some(found));
    }
    assert!(cursor::name(text).is_none_or(|name| cursor::name(&cursor::name_text(&name)) == Some(name)));
    if let Some((day, values)) = cursor::line(text) {
        assert_eq!(cursor::line(&cursor::line_text(day, &values)), Some((day, values)));
    }
    assert!(EventId::parse(text).is_none_or(|id| id.to_string() == text));
}
