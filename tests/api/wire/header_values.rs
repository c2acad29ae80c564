//! Headers that decide which data a call acts on have exactly one valid value. Anything else is a 400, and the call
//! does nothing, in particular not on other data than its caller named.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::raw_http::{Reply, chunked, gzip, request, routes, send};
use crate::support::{ROOT_KEY, Running, World, monthly, new_key};

/// Headers with a valid value, and values that are invalid for every call.
const VALUES: [(&str, &str, &[&[u8]]); 7] = [
    ("X-App", "default", &[b"a b", b"a\xe9", "\u{e9}".as_bytes(), b"default,other"]),
    ("X-Mode", "test", &[b"Test", b"t\xebst", "t\u{eb}st".as_bytes(), b"test,live", b"test/", b"prod", b"\xff"]),
    ("Authorization", "", &[b"Basic YWs6", b"Bearer", b"Bearer \xe9", b"Bearer a b", b"ak_test", b"Bearer  "]),
    ("X-Api-Key", "", &[b"ak_\xe9"]),
    ("X-User-Token", "0123", &[b"\xe9"]),
    ("Idempotency-Key", "once", &[b"\xe9", "\u{e9}".as_bytes(), &[b'k'; 256]]),
    ("If-Match", "*", &[b"\xe9", b"nonsense", b"\"1\", \"2\"", b"W/\"1\"", b"\"1"]),
];

fn header(name: &str, value: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b": ", value, b"\r\n"].concat()
}

/// Adds the root key, unless the header itself carries a key.
fn with_key(name: &str, headers: Vec<u8>) -> Vec<u8> {
    match name {
        "Authorization" | "X-Api-Key" => headers,
        _ => [header("Authorization", format!("Bearer {ROOT_KEY}").as_bytes()), headers].concat(),
    }
}

/// Puts a plan with these headers.
async fn put(node: &Running, headers: &[u8]) -> Reply {
    send(&node.url, &request("PUT /api/v1/plans/one", headers, monthly(1).to_string().as_bytes())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_repeated_empty_or_wrong_is_400_and_nothing_is_done() {
    let world = World::new().await;
    world.admin.plan("one", monthly(7)).await;
    let before = world.redis.contents("qg:*").await;
    for (name, valid, wrong) in VALUES {
        let valid = match name {
            "Authorization" => format!("Bearer {ROOT_KEY}"),
            "X-Api-Key" => ROOT_KEY.to_owned(),
            _ => valid.to_owned(),
        };
        let twice = [header(name, valid.as_bytes()), header(name, valid.as_bytes())].concat();
        let then_wrong = [header(name, valid.as_bytes()), header(name, b"\xff")].concat();
        let wrong = wrong.iter().map(|value| header(name, value));
        for headers in [twice, then_wrong, header(name, b""), header(name, b" \t")].into_iter().chain(wrong) {
            let reply = put(&world.node, &with_key(name, headers.clone())).await;
            let reported = String::from_utf8_lossy(&headers).into_owned();
            assert_eq!(
                (reply.status, reply.json["code"].as_str()),
                (400, Some("invalid_request")),
                "{reported}: {}",
                reply.json
            );
            assert_eq!(reply.field(), name, "{reported}: {}", reply.json);
        }
    }
    // Two keys at once, unless they are equal.
    let both = |key: &str| {
        [header("Authorization", format!("Bearer {ROOT_KEY}").as_bytes()), header("X-Api-Key", key.as_bytes())].concat()
    };
    assert_eq!(put(&world.node, &both(&world.app.key)).await.field(), "X-Api-Key");
    assert_eq!(world.redis.contents("qg:*").await, before, "nothing is written");
    assert_eq!(put(&world.node, &both(ROOT_KEY)).await.status, 200);
    for (name, valid, _) in VALUES.iter().filter(|(_, valid, _)| !valid.is_empty()) {
        let reply = put(&world.node, &with_key(name, header(name, valid.as_bytes()))).await;
        assert_eq!(reply.status, 200, "{name}: {valid}: {}", reply.json);
    }
}

/// Routes that are added later are tested too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_route_takes_a_mode_or_an_app_that_cannot_be_read_for_none() {
    let world = World::new().await;
    for route in
        routes().iter().filter(|route| route.pattern.starts_with("/api/") && route.pattern != "/api/v1/session")
    {
        let line = format!("{} {}", route.method, route.path);
        for name in ["X-Mode", "X-App", "Idempotency-Key", "If-Match", "X-User-Token"] {
            for key in [ROOT_KEY, &world.app.key] {
                let key = header("X-Api-Key", key.as_bytes());
                let reply =
                    send(&world.node.url, &request(&line, &[key, header(name, b"t\xebst")].concat(), b"{}")).await;
                assert_eq!((reply.status, reply.field()), (400, name), "{line}: {}", reply.json);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_a_cookie_and_a_site_that_cannot_be_read_are_not_taken_for_none() {
    let world = World::new().await;
    let key =
        new_key(&world.admin, json!({"kind": "publishable", "mode": "live", "origins": ["https://a.example"]})).await;
    let key = header("X-Api-Key", key.as_bytes());
    let read = async |headers: Vec<u8>| {
        send(&world.node.url, &request("GET /api/v1/plans", &[key.clone(), headers].concat(), b"")).await
    };
    assert_eq!(read(header("Origin", b"https://a.example")).await.status, 200);
    assert_eq!(read(header("Origin", b"https://b.example")).await.status, 403);
    for headers in [
        header("Origin", b"https://\xe9.example"),
        header("Origin", b""),
        [header("Origin", b"https://a.example"), header("Origin", b"https://b.example")].concat(),
    ] {
        assert_eq!(read(headers).await.field(), "Origin");
    }
    let sign_in = async |headers: Vec<u8>| {
        let body = json!({"key": ROOT_KEY}).to_string();
        send(&world.node.url, &request("POST /api/v1/session", &headers, body.as_bytes())).await
    };
    for headers in [
        header("Sec-Fetch-Site", b"cross-site\xe9"),
        [header("Sec-Fetch-Site", b"same-origin"), header("Sec-Fetch-Site", b"cross-site")].concat(),
    ] {
        assert_eq!(sign_in(headers).await.field(), "Sec-Fetch-Site");
    }
    let id = world.node.client("").post("session", json!({"key": ROOT_KEY})).await;
    let id = id.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let who = async |cookies: &[&[u8]]| {
        let headers = cookies.iter().map(|cookie| header("Cookie", cookie)).collect::<Vec<_>>().concat();
        send(&world.node.url, &request("GET /api/v1/plans", &headers, b"")).await
    };
    let with_others = [b"other=\xe9; ".as_slice(), id.as_bytes(), b"; last=1"].concat();
    assert_eq!(who(&[&with_others]).await.status, 200, "other cookies are not ours");
    assert_eq!(who(&[b"other=1", id.as_bytes()]).await.status, 200);
    let twice = [id.as_bytes(), b"; quotagate_session=another"].concat();
    for cookies in
        [&[twice.as_slice()][..], &[id.as_bytes(), id.as_bytes()], &[id.as_bytes(), b"quotagate_session=x\xe9"]]
    {
        assert_eq!(who(cookies).await.field(), "Cookie");
    }
    assert_eq!(who(&[b"quotagate_session=\xe9"]).await.status, 401);
}

/// One case: headers with their values, and the encoding of the body.
#[derive(Clone, Debug)]
struct Try {
    headers: Vec<(&'static str, Vec<Vec<u8>>)>,
    codings: Vec<&'static [u8]>,
    is_gzip: bool,
    /// The chunk size; None for a body with a length.
    chunks: Option<usize>,
}

fn tries() -> impl Strategy<Value = Try> {
    // Bytes that a header may have, mostly close to a valid value.
    let value = |valid: &'static str| {
        prop_oneof![
            6 => Just(valid.as_bytes().to_vec()),
            1 => Just(Vec::new()),
            1 => prop::collection::vec(prop_oneof![32_u8..127, 128_u8..=255], 1..12),
            1 => (0..=valid.len(), 128_u8..=255).prop_map(move |(place, byte)| {
                let mut value = valid.as_bytes().to_vec();
                value.insert(place, byte);
                value
            }),
        ]
    };
    let values = move |name: &'static str, valid: &'static str| {
        let counts = prop_oneof![4 => Just(0..=0_usize), 8 => Just(1..=1), 1 => Just(2..=3)];
        counts
            .prop_flat_map(move |count| prop::collection::vec(value(valid), count))
            .prop_map(move |values| (name, values))
    };
    let headers =
        (values("X-Mode", "test"), values("X-App", "default"), values("Idempotency-Key", "k"), values("If-Match", "*"));
    let coding = prop::sample::select(vec![
        &b"gzip"[..],
        b"GZIP",
        b"identity",
        b"deflate",
        b"br",
        b"gzip, gzip",
        b"",
        b"gz\xef",
        b"x",
    ]);
    let codings = prop_oneof![3 => Just(Vec::new()), 4 => prop::collection::vec(coding, 1..3)];
    let chunks = prop::option::of(1..64_usize);
    (headers, codings, any::<bool>(), chunks).prop_map(|((mode, app, once, matched), codings, is_gzip, chunks)| Try {
        headers: vec![mode, app, once, matched],
        codings,
        is_gzip,
        chunks,
    })
}

/// Whether the call may succeed: each header is absent or has its one valid value, and the body's encoding is as
/// declared.
fn may_be_done(tried: &Try) -> bool {
    let valid = [("X-Mode", "test"), ("X-App", "default"), ("If-Match", "*")];
    let is_valid = |name: &str, value: &[u8]| {
        let text = String::from_utf8_lossy(value.trim_ascii()).into_owned();
        match valid.iter().find(|(known, _)| *known == name) {
            Some((_, valid)) => text == *valid,
            // Any text that is plain.
            None => !text.is_empty() && text.bytes().all(|byte| (32..127).contains(&byte)),
        }
    };
    let headers =
        tried.headers.iter().all(|(name, values)| values.len() <= 1 && values.iter().all(|it| is_valid(name, it)));
    let says_gzip = match tried.codings[..] {
        [] => Some(false),
        [one] if one.eq_ignore_ascii_case(b"gzip") => Some(true),
        [one] if one.eq_ignore_ascii_case(b"identity") => Some(false),
        _ => None,
    };
    headers && says_gzip == Some(tried.is_gzip)
}

/// The same cases each time; `PROPTEST_CASES` runs more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_headers_and_encodings_never_act_unless_each_is_valid() {
    let world = World::new().await;
    world.admin.plan("one", monthly(1)).await;
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400);
    let mut runner = TestRunner::deterministic();
    let (mut done, mut refused) = (0, 0);
    for case in 0..cases {
        let tried = tries().new_tree(&mut runner).unwrap().current();
        let body = monthly(case).to_string().into_bytes();
        let body = if tried.is_gzip { gzip(&body) } else { body };
        let mut headers = header("Authorization", format!("Bearer {ROOT_KEY}").as_bytes());
        for (name, values) in &tried.headers {
            headers.extend(values.iter().flat_map(|value| header(name, value)));
        }
        headers.extend(tried.codings.iter().flat_map(|coding| header("Content-Encoding", coding)));
        let line = "PUT /api/v1/plans/one?dryRun=true";
        let bytes = match tried.chunks {
            Some(piece) => chunked(line, &headers, &body, piece),
            None => request(line, &headers, &body),
        };
        let reply = send(&world.node.url, &bytes).await;
        match may_be_done(&tried) {
            true => {
                done += 1;
                assert_eq!(reply.status, 200, "case {case}: {tried:?}: {}", reply.json);
            }
            false => {
                refused += 1;
                // An app that does not exist; a version that is not the present one.
                assert!(
                    [400, 404, 412, 415].contains(&reply.status),
                    "case {case}: {tried:?}: {} {}",
                    reply.status,
                    reply.json
                );
            }
        }
    }
    assert!(done > cases / 40 && refused > cases / 4, "{done} done, {refused} refused");
}
