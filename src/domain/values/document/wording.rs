//! Rewrites serde's messages in the terms of the product: what is accepted, and the closest name for a misspelt one.

use chrono_tz::TZ_VARIANTS;

/// A list of more accepted names than this is left out if one of them is close to the given one.
const MOST_NAMES: usize = 12;

pub const UNKNOWN_FIELD: &str = "is not a known field";

/// serde's message as a predicate that follows the field's name.
pub fn plain(message: &str) -> String {
    let quoted = |start: &str| message.strip_prefix(start)?.split_once('`').map(|(name, rest)| (name, names(rest)));
    if let Some((given, accepted)) = quoted("unknown variant `") {
        return not_one_of(given, &accepted);
    }
    if let Some((given, accepted)) = quoted("unknown field `") {
        return format!("{UNKNOWN_FIELD}{}", hint(given, &accepted));
    }
    if message.starts_with("missing field `") {
        return "is required".to_owned();
    }
    if message.starts_with("duplicate field `") {
        return "must occur only once".to_owned();
    }
    match message {
        "number out of range" => return "is out of range".to_owned(),
        "expected value" => return "must be a string".to_owned(),
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            return "must be a whole number".to_owned();
        }
        "provided string was not `true` or `false`" => return "must be `true` or `false`".to_owned(),
        _ => {}
    }
    if let Some(given) = message.strip_prefix("failed to parse timezone: '") {
        let zones: Vec<&str> = TZ_VARIANTS.iter().map(|zone| zone.name()).collect();
        return format!("must be an IANA time zone such as `Europe/Berlin`{}", suggestion(given, &zones));
    }
    let mismatch = ["invalid type: ", "invalid value: ", "invalid length "].iter().find_map(|start| {
        let (found, expected) = message.strip_prefix(start)?.split_once(", expected ")?;
        Some((start.starts_with("invalid type"), found, expected))
    });
    match mismatch {
        Some((true, found, expected)) => format!("must be {}, not {}", kind_of(expected), found_kind(found)),
        Some((false, _, expected)) => format!("must be {}", kind_of(expected)),
        None => message.to_owned(),
    }
}

/// "must be `a` or `b`, not `c`", with the closest name.
pub fn not_one_of(given: &str, accepted: &[&str]) -> String {
    let given_text = if given.is_empty() { "empty".to_owned() } else { format!("`{given}`") };
    format!("must be {}, not {given_text}{}", either(accepted), suggestion(given, accepted))
}

/// The accepted values in serde's message about an unknown one.
pub fn accepted(message: &str) -> Vec<&str> {
    let rest = message.strip_prefix("unknown variant `").and_then(|rest| rest.split_once('`'));
    rest.map_or_else(Vec::new, |(_, rest)| names(rest))
}

/// The names in backticks.
fn names(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// `` `a`, `b` or `c` ``
pub fn either(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        Some((last, _)) => last.clone(),
        None => "left out".to_owned(),
    }
}

/// The closest name for an unknown one, or all names if they are few and none is close.
pub fn hint(given: &str, accepted: &[&str]) -> String {
    let suggested = suggestion(given, accepted);
    match (accepted.is_empty(), suggested.is_empty()) {
        (false, true) if accepted.len() <= MOST_NAMES => format!("; use {}", either(accepted)),
        _ => suggested,
    }
}

/// "; did you mean `a`?", or nothing if no accepted name is close to the given one.
pub fn suggestion(given: &str, accepted: &[&str]) -> String {
    closest(given, accepted).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The accepted name that the given one is probably meant to be: at most two in five letters differ.
fn closest<'a>(given: &str, accepted: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| -> Vec<char> {
        name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).take(64).collect()
    };
    let given = plain(given);
    let near = accepted.iter().filter_map(|name| {
        let known = plain(name);
        let distance = distance(&given, &known);
        (distance <= 1.max(given.len().max(known.len()) * 2 / 5) && distance < known.len()).then_some((distance, *name))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// How many letters must be inserted, removed or replaced (Levenshtein distance).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, one) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(one != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

/// What serde expected.
fn kind_of(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a map" | "a JSON object" => "an object",
        "f32" | "f64" => "a number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "an IANA timezone string" | "string or map" | "string only" | "unit variant" | "variant identifier" => {
            "a string"
        }
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") => "a string",
        other => other,
    }
}

/// What serde found.
fn found_kind(found: &str) -> &str {
    let kinds = [
        ("string", "a string"),
        ("integer", "a number"),
        ("floating point", "a number"),
        ("number", "a number"),
        ("boolean", "a boolean"),
        ("sequence", "a list"),
        ("map", "an object"),
        ("unit", "null"),
    ];
    kinds.iter().find(|(start, _)| found.starts_with(start)).map_or(found, |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_is_accepted() {
        for (message, expected) in [
            (
                "unknown variant `bananas`, expected one of `count`, `tokens`, `seconds`, `cents`",
                "must be `count`, `tokens`, `seconds` or `cents`, not `bananas`",
            ),
            (
                "unknown variant `token`, expected one of `count`, `tokens`, `seconds`, `cents`",
                "must be `count`, `tokens`, `seconds` or `cents`, not `token`; did you mean `tokens`?",
            ),
            ("unknown variant `x`, expected `deny` or `allow`", "must be `deny` or `allow`, not `x`"),
            ("unknown field `user_id`, expected `userId` or `event`", "is not a known field; did you mean `userId`?"),
            ("unknown field `colour`, expected `userId` or `event`", "is not a known field; use `userId` or `event`"),
            ("unknown field `x`, there are no fields", "is not a known field"),
            ("missing field `userId`", "is required"),
            ("duplicate field `userId`", "must occur only once"),
            ("invalid type: integer `1`, expected a string", "must be a string, not a number"),
            ("invalid type: null, expected struct Inner", "must be an object, not null"),
            ("invalid type: string \"60\", expected u64", "must be a whole number that is not negative, not a string"),
            ("invalid value: integer `-1`, expected u32", "must be a whole number that is not negative"),
            (
                "failed to parse timezone: 'Asia/Kolkatta'",
                "must be an IANA time zone such as `Europe/Berlin`; did you mean `Asia/Kolkata`?",
            ),
            ("must have 1 to 64 bytes", "must have 1 to 64 bytes"),
        ] {
            assert_eq!(plain(message), expected, "{message}");
        }
    }

    #[test]
    fn misspelt_names_have_a_suggestion_and_other_names_none() {
        let periods = ["minute", "hourly", "daily", "weekly", "monthly", "yearly", "lifetime", "every", "fixed"];
        for (given, expected) in [
            ("month", Some("monthly")),
            ("Day", Some("daily")),
            ("hour", Some("hourly")),
            ("montly", Some("monthly")),
            ("MONTHLY", Some("monthly")),
            ("fortnightly", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(closest(given, &periods), expected, "{given}");
        }
    }
}
