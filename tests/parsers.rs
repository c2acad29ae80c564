//! Runs every parser of outside data on random texts: none panics, and accepted values are those that were written.

#[path = "../fuzz/parsers.rs"]
mod fuzzed;

use proptest::prelude::*;
use quotagate::cli::config_file::ConfigFile;
use quotagate::domain::accounts::custom_limits::CustomLimits;
use quotagate::domain::configuration::plan::Plan;
use quotagate::domain::configuration::plan_body::PlanBody;
use quotagate::domain::configuration::policy_body::PolicyBody;
use quotagate::domain::configuration::scope::{OwnerName, Scope};
use quotagate::domain::metering::reservation::{OperationName, ReservationId};
use quotagate::domain::values::document;
use quotagate::domain::values::ids::{AppId, EventName, IdempotencyKey, Mode, PlanId, UserId};
use quotagate::domain::values::metadata::Metadata;
use quotagate::domain::values::number::Number;
use quotagate::domain::webhooks::address::is_public;
use quotagate::domain::webhooks::webhook::{WebhookBody, WebhookEvent, fill};
use quotagate::store::keys::Bucket;
use quotagate::store::reading;
use serde_json::{Value, json};

/// Texts with characters that have a special meaning in some format.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,80}",
        "[a-z0-9_.:{}%+*/ \\-]{0,70}",
        any::<String>(),
        "[a-f0-9]{20,40}",
        "rsv_[a-f0-9]{36,38}",
        "rsv_[A-Za-z0-9_-]{16}[a-f0-9]{12,14}"
    ]
}

/// JSON with the field names of configurations.
fn documents() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "monthly",
        "calendar",
        "subscription_start",
        "every",
        "fixed",
        "P30D",
        "count",
        "cents",
        "user",
        "metadata.team",
        "image.*",
        "hard",
        "approval",
        "2027-01-01T00:00:00Z",
        "Europe/Berlin",
        "quantity",
        "event",
        "0.25",
        "1e3",
        "-1",
        "9007199254740992",
        "carry",
        "https://example.com/x",
        "threshold.reached",
        "",
    ]);
    let scalar = prop_oneof![
        4 => word.prop_map(Value::from),
        1 => texts().prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    let name = prop_oneof![
        12 => prop::sample::select(vec![
            "id", "name", "label", "unit", "quota", "rollover", "max", "maxPerCall", "measure", "matches", "match", "covers", "period", "periodType",
            "periodAnchor", "anchor", "timezone", "weekStart", "every", "start", "end", "scope", "enforcement", "onLimit", "onPlanChange",
            "alerts", "unmatchedEvents", "groups", "event", "metadata", "per", "estimate", "owner", "environment", "approval", "retry",
            "approvers", "maxAttempts", "backoff", "url", "events", "filter", "template", "groupIds", "plans", "app",
        ]).prop_map(str::to_owned),
        1 => texts(),
    ];
    scalar.prop_recursive(5, 48, 8, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::btree_map(name.clone(), inner, 0..8).prop_map(|fields| json!(fields)),
        ]
    })
}

/// A plan that is valid except for the value of one field, in its group or in itself.
fn nearly_valid(inside: bool, name: &str, value: Value) -> Value {
    let mut plan = json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
        {"id": "g", "unit": "count", "quota": 5, "matches": [{"event": "image.*"}]},
    ]});
    let place = if inside { &mut plan["groups"][0] } else { &mut plan };
    place[name] = value;
    plan
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn names_are_kept_as_they_are_or_refused(text in texts()) {
        for read in [
            UserId::parse(&text).map(|name| name.to_string()),
            EventName::parse(&text).map(|name| name.to_string()),
            PlanId::parse(&text).map(|name| name.to_string()),
            IdempotencyKey::parse(&text).map(|name| name.to_string()),
        ].into_iter().flatten() {
            prop_assert_eq!(&read, &text);
            prop_assert!(!read.is_empty() && read.len() <= 256 && !read.chars().any(char::is_control));
        }
        if PlanId::parse(&text).is_ok() {
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'));
        }
        if let Ok(mode) = Mode::parse(&text) {
            prop_assert_eq!(Mode::parse(&mode.to_string()), Ok(mode));
        }
        if let Some(event) = WebhookEvent::parse(&text) {
            prop_assert_eq!(event.as_str(), text.as_str());
        }
    }

    #[test]
    fn reservation_ids_read_as_they_are_written(bytes in any::<[u8; 12]>(), created_at_ms in 0..(1_i64 << 44), bucket in any::<u8>()) {
        for name in [OperationName::random(bytes), OperationName::derived(&bytes)] {
            let id = ReservationId { name, created_at_ms, bucket };
            prop_assert_eq!(ReservationId::parse(&id.to_string()), Some(id.clone()));
            prop_assert_eq!(OperationName::parse(id.name.as_str()), Some(id.name));
        }
    }

    #[test]
    fn no_two_texts_are_one_reservation_id(text in texts()) {
        if let Some(id) = ReservationId::parse(&text) {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn scopes_read_as_they_are_written(names in prop::collection::vec(prop_oneof![Just("user".to_owned()), Just("app".to_owned()), texts().prop_map(|name| format!("metadata.{name}")), texts()], 0..6)) {
        if let Ok(scope) = Scope::parse(&names) {
            prop_assert_eq!(scope.names().len(), names.len());
            prop_assert_eq!(Scope::parse(&scope.names()), Ok(scope));
        }
        let map = names.iter().map(|name| (name.clone(), name.clone())).collect();
        if let Ok(owner) = OwnerName::from_map(&map) {
            prop_assert_eq!(owner.values().len(), map.len());
        }
    }

    #[test]
    fn numbers_go_out_as_they_came_in(text in "-?[0-9]{1,20}(\\.[0-9]{1,14})?([eE][+-]?[0-9]{1,3})?") {
        if let Ok(number) = serde_json::from_str::<Number>(&text) {
            let reported = serde_json::to_string(&number).unwrap();
            prop_assert_eq!(serde_json::from_str::<Number>(&reported).unwrap(), number);
            prop_assert_eq!(serde_json::from_str::<Number>(&format!("\"{text}\"")).unwrap(), number);
        }
    }

    #[test]
    fn metadata_is_flat_and_bounded_or_refused(value in documents()) {
        if let Ok(metadata) = serde_json::from_value::<Metadata>(value.clone()) {
            prop_assert!(metadata.fits());
            prop_assert_eq!(metadata.len(), value.as_object().unwrap().len());
            prop_assert!(metadata.iter().all(|(name, text)| name.len() <= 64 && text.len() <= 256));
        }
    }

    #[test]
    fn no_document_makes_reading_it_fail_otherwise_than_by_a_named_field(value in documents(), cut in any::<prop::sample::Index>()) {
        let text = value.to_string();
        let whole = text.as_bytes();
        for bytes in [whole, &whole[..cut.index(whole.len())]] {
            for faults in [
                document::read::<PlanBody>(bytes).err(),
                document::read::<PolicyBody>(bytes).err(),
                document::read::<WebhookBody>(bytes).map(|webhook| (webhook.faults(), webhook.names_private_address())).err(),
            ].into_iter().flatten() {
                prop_assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.field.is_empty()));
            }
        }
        let _ = CustomLimits::parse(&value);
    }

    #[test]
    fn an_accepted_plan_is_accepted_again_as_returned(inside in any::<bool>(), name in prop::sample::select(vec![
        "quota", "unit", "measure", "matches", "covers", "periodType", "periodAnchor", "timezone", "every", "start", "end", "scope",
        "enforcement", "onLimit", "alerts", "maxPerCall", "rollover", "weekStart", "onPlanChange", "unmatchedEvents",
    ]), value in documents()) {
        let text = nearly_valid(inside, name, value).to_string();
        let Ok(body) = document::read::<PlanBody>(text.as_bytes()) else { return Ok(()) };
        let reported = serde_json::to_string(&body).unwrap();
        prop_assert_eq!(&document::read::<PlanBody>(reported.as_bytes()).unwrap(), &body);
        let id = PlanId::parse("p").unwrap();
        match Plan::validate(&id, 1, body) {
            Ok(_) => {}
            Err(faults) => prop_assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.field.is_empty())),
        }
    }

    #[test]
    fn a_json_file_is_read_as_json_would_be(value in documents()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            match ConfigFile::parse(&text) {
                Ok(file) => prop_assert_eq!(&file.document, &value, "{}", text),
                // YAML does not allow some characters in a file, even inside quotes.
                Err(error) => prop_assert!(text.chars().any(|letter| letter.is_control() || !letter.is_ascii()), "{}: {}", error, text),
            }
        }
    }

    #[test]
    fn no_text_makes_reading_a_file_fail_otherwise_than_by_a_line(
        text in prop_oneof![any::<String>(), "([ ]{0,4}[a-z&*!|>'\"\\[\\]{},:#?%@`~-]{0,9}\n){0,12}"]
    ) {
        match ConfigFile::parse(&text) {
            Ok(file) => { file.line_of("plans[0].id"); }
            // In YAML a carriage return also starts a new line.
            Err(error) => prop_assert!(error.line <= text.split(['\n', '\r']).count() + 1, "{}", error),
        }
    }

    #[test]
    fn an_address_in_other_clothes_is_as_private(octets in any::<[u8; 4]>()) {
        let address = std::net::Ipv4Addr::from(octets);
        let (high, low) = (u16::from_be_bytes([octets[0], octets[1]]), u16::from_be_bytes([octets[2], octets[3]]));
        let same = [
            address.to_ipv6_mapped(),
            std::net::Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            std::net::Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        ];
        for other in same {
            prop_assert_eq!(is_public(other.into()), is_public(address.into()), "{}", other);
        }
        prop_assert!(!(address.is_loopback() || address.is_private() || address.is_link_local()) || !is_public(address.into()));
    }

    #[test]
    fn templates_put_in_what_they_name_and_leave_the_rest(text in "[a-z{} ]{0,40}", value in texts()) {
        let filled = fill(&text, &[("a", &value)]);
        prop_assert_eq!(filled, text.replace("{a}", &value));
    }
}

/// Bytes that get further than random ones: fragments that the parsers accept, in any order, mixed with noise.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "0.25",
        "1e3",
        "e",
        "-",
        "9007199254740992",
        "*",
        "image.",
        "\n",
        "every",
        "fixed",
        "monthly",
        "calendar",
        "subscription_start",
        "P30D",
        "P1M",
        "PT",
        "2027-01-31T10:00:00Z",
        "+02:00",
        "Europe/Berlin",
        "rsv_",
        "0123456789abcdef01234567",
        "reservation",
        "answer",
        "held ",
        "free 7",
        "model=m",
        "user:u",
        ":1:5",
        " - ",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "groups",
        "plans",
        "- ",
        "  ",
        "&a ",
        "*a",
        "sk_test_",
        "test/",
        "%41",
        "0-0",
        "18446744073709551615",
        "led_00_1795228329143-0",
        "WyIyMDI3LTAxLTMxIixbbnVsbF1d",
    ]);
    let piece = prop_oneof![
        4 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
        1 => texts().prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_fuzz_targets_find_nothing_in_a_short_run(data in pieces()) {
        for (_, parser) in fuzzed::ALL {
            parser(&data);
        }
    }
}

/// Replies of scripts in the fuzz target's form, and ledger entries.
const REPLIES: [&str; 12] = [
    "reserve\nheld\n1795228329143\n0\n5+1 2+0+3+4",
    "reserve\ndenied\n1795228329143\n2\n\n1795228389143\ng:apr_1:open\n5+1! 2+0",
    "reserve\nstale_user\n1795228329143\n1795228329143000\npro 20270131T1000 - 20270601\n{\"g\":{\"quota\":5}}\n",
    "track\ntracked\n1795228329143\n0\ng:80,g:100\n0\n5+1\n{\"degraded\":true}",
    "kept\ntracked\n1795228329143\n0\n\n0\n5+1\n\ng 1 5 5 daily/20270131/20270201",
    "settle\nsettled\n1795228329143\ncommitted\n0\n0\nimage.a key_1 u\n{\"items\":[{}]}\n1\n\nuser:u g 5+1/5 daily/20270131/20270201#1 ; app:a h 1+0/- lifetime/20270131/99991231T235959#2",
    "extend\nextended\n1795228329143\n1795228389143\nimage.a key_1 u\np 7 2 model=m\n5+1",
    "grant\ngranted\n1795228329143\n{}",
    "change_user\nchanged\n1795228329143\n1795228329143000",
    "usage\nusage\n1795228329143\n0\n5+1!",
    "survey\nsurveyed\n0\n1\n1795228329143-0\nuser:u g:1:3:3:5\n4\n.account\nv0 expiry=0 ttl=0\ng\n3+0/5 daily/20270131/20270201#2\n0\n0\ng:2:4",
    "row\nu image.a key_1 model=x\ncalls=1",
];
const ENTRIES: &str = "type\ntrack\nat\n1795228329143\nlate\n0\nop\n0123456789abcdef01234567 -\nabout\nimage.a key_1 u\n\
    charges\nuser:u g:1:3:3:4:daily/20270131/20270201,h:2:0:1:-:closed app:default w:1:3:9\nmemo\n{\"items\":[{}]}\ntold\n{}\n\n\
    entry\nexpire 1795228389143 0 0123456789abcdef01234567 1795228329143 image.a key_1 u\nheld\ng:1:3\n\n\
    entry\ncommit 1795228389143 1 0123456789abcdef01234567 1795228329143 image.a key_1 u\n\
    charges\nuser:u g:1:3:3:5,h:c1:0:1:- app:default w:1:3:9:9\nmemo\n{\"items\":[{}]}\n\n\
    entry\ndenial 1795228389143 reserve image.a key_1 u limit_reached\nlacks\nuser:u g:1:3:3\nmemo\n{\"items\":[{}]}";

proptest! {
    #[test]
    fn a_damaged_reply_or_entry_is_reported_or_skipped(
        at in any::<prop::sample::Index>(), of in 0..REPLIES.len(), put in "[\\n \\-:,{}0-9a-z\"]{0,6}", count in 0..3_u8
    ) {
        for (whole, parser) in [(REPLIES[of], fuzzed::replies as fuzzed::Parser), (ENTRIES, fuzzed::ledger_entries)] {
            let place = at.index(whole.len());
            for damaged in [format!("{}{put}{}", &whole[..place], &whole[place..]), whole[..place].to_owned()] {
                let mut data = damaged.into_bytes();
                if whole != ENTRIES {
                    data.insert(0, count);
                }
                parser(&data);
            }
        }
    }
}

#[test]
fn the_replies_and_entries_that_are_damaged_are_whole_before() {
    let bucket = Bucket::whole(&AppId::parse("a").unwrap(), &Mode::Live);
    for whole in REPLIES {
        let (function, fields) = whole.split_once('\n').unwrap();
        let fields: Vec<&[u8]> = fields.split('\n').map(str::as_bytes).collect();
        let reported = reading::reply(function, 1, &bucket, &fields);
        assert!(reported.is_ok(), "{function}: {reported:?}");
    }
    let entries: Vec<Vec<&[u8]>> =
        ENTRIES.split("\n\n").map(|entry| entry.split('\n').map(str::as_bytes).collect()).collect();
    assert_eq!(reading::entries(&bucket, &entries).unwrap(), 4);
}

#[test]
fn every_fuzz_target_is_a_parser_of_the_short_run() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/fuzz_targets");
    let mut targets: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    targets.sort();
    let targets: Vec<_> = targets.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    let mut parsers = fuzzed::ALL.map(|(name, _)| name);
    parsers.sort_unstable();
    assert_eq!(targets, parsers);
}
