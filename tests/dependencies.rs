//! Checks the dependencies: every crate comes from a listed registry with a checksum, has a listed licence, and is not
//! banned. The lists are those of `deny.toml`. Container images are pinned, and `scripts/audit.py` never reports
//! success for a dependency it could not check.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc;

use quotagate::infra::embedded_redis::COMPACT;
use serde_json::{Value, json};

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The quoted strings of a list in a section of `deny.toml`.
fn list(section: &str, name: &str) -> Vec<String> {
    let text = read("deny.toml");
    let section = text.split(&format!("[{section}]\n")).nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let values = section.split(&format!("{name} = [\n")).nth(1).unwrap().split("\n]").next().unwrap();
    let values: Vec<String> = values.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!values.is_empty(), "{name} is empty");
    values
}

/// The packages of a build on this machine, as cargo resolved them: the crates, and those of this repository.
fn packages() -> (Vec<Value>, Vec<Value>) {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().clone();
    packages.into_iter().partition(|package| !package["source"].is_null())
}

/// Whether the licence expression is allowed: one side of `OR` (or `/`) is enough, `AND` needs both.
fn may(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let is_allowed = either(&words, &mut at, allowed);
    is_allowed && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut found = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        found |= both(words, at, allowed);
    }
    found
}

fn both(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut found = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        found &= one(words, at, allowed);
    }
    found
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let word = words.get(*at).copied().unwrap_or_default();
    *at += 1;
    if word == "(" {
        let found = either(words, at, allowed);
        *at += 1;
        return found;
    }
    // A licence exception is not on the list, so a licence with one is not allowed.
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
        return false;
    }
    allowed.iter().any(|licence| licence == word)
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("GPL-3.0 AND ISC OR MIT", true),
        ("GPL-3.0 AND (ISC OR MIT)", false),
        ("GPL-3.0 WITH LLVM-exception OR MIT", true),
        ("", false),
        ("MIT ISC", false),
    ] {
        assert_eq!(may(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn every_crate_is_under_a_listed_licence_and_from_a_listed_registry_and_none_is_refused() {
    let (licences, refused) = (list("licenses", "allow"), list("bans", "deny"));
    let registries: Vec<String> =
        list("sources", "allow-registry").into_iter().map(|registry| format!("registry+{registry}")).collect();
    let mut offences = Vec::new();
    let (packages, _) = packages();
    assert!(packages.len() > 100, "{} crates", packages.len());
    for package in &packages {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        let (name, licence, source) = (text("name"), text("license"), text("source"));
        if !may(licence, &licences) {
            offences.push(format!("{name}: licence `{licence}`"));
        }
        if !registries.iter().any(|registry| registry == source) {
            offences.push(format!("{name}: from {source}"));
        }
        if refused.iter().any(|refused| refused == name) {
            offences.push(format!("{name}: refused"));
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn the_gateway_needs_no_other_package_of_this_repository() {
    let (_, own) = packages();
    let text = |package: &Value, field: &str| package[field].as_str().unwrap().to_owned();
    let mut names: Vec<String> = own.iter().map(|package| text(package, "name")).collect();
    names.sort();
    assert_eq!(names, ["quotagate", "quotagate-replay"]);
    for package in &own {
        let needed = package["dependencies"].as_array().unwrap().iter().filter(|needed| needed["source"].is_null());
        let needed: Vec<String> = needed.map(|needed| text(needed, "name")).collect();
        let expected: &[&str] = if package["name"] == "quotagate" { &[] } else { &["quotagate"] };
        assert_eq!(needed, expected, "{}", package["name"]);
    }
}

#[test]
fn every_crate_of_the_lock_file_has_a_checksum() {
    let lock = read("Cargo.lock");
    let own = ["name = \"quotagate\"", "name = \"quotagate-replay\""];
    for package in lock.split("[[package]]\n").skip(1) {
        let name = package.lines().next().unwrap();
        if own.contains(&name) {
            continue;
        }
        assert!(package.contains("\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n"), "{name}");
        assert!(package.contains("\nchecksum = \""), "{name}");
    }
}

/// The images of `FROM`, `COPY --from`, `# syntax=` and `image:` lines, except build stages and images that the file
/// builds itself.
fn images(file: &str) -> Vec<String> {
    let text = read(file);
    let mut own: Vec<&str> = vec!["quotagate"];
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let image = match words.as_slice() {
            ["FROM", rest @ ..] => {
                let rest: Vec<&str> = rest.iter().copied().filter(|word| !word.starts_with("--")).collect();
                if let [_, "AS", stage] = rest.as_slice() {
                    own.push(stage);
                }
                rest[0]
            }
            ["COPY", from, ..] if from.starts_with("--from=") => &from["--from=".len()..],
            ["#", syntax] if syntax.starts_with("syntax=") => &syntax["syntax=".len()..],
            ["image:", image] => image,
            _ => continue,
        };
        if !own.contains(&image) {
            found.push(image.to_owned());
        }
    }
    found
}

#[test]
fn every_container_image_is_pinned_by_digest() {
    let (build, compose) = (images("Dockerfile"), images("docker-compose.yml"));
    assert_eq!((build.len(), compose.len()), (2, 1), "{build:?} {compose:?}");
    for image in build.iter().chain(&compose) {
        let digest = image.split_once("@sha256:").map(|(_, digest)| digest).unwrap_or_default();
        let is_hex = digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        assert!(digest.len() == 64 && is_hex, "{image} is not pinned: add @sha256: and the digest of the image");
    }
}

#[test]
fn the_compose_file_stores_counters_and_holds_as_the_private_redis_does() {
    let text = read("docker-compose.yml");
    for setting in COMPACT.chunks_exact(2) {
        let part = setting.join(" ");
        assert!(text.contains(&part), "docker-compose.yml lacks `{part}`");
    }
}

#[test]
fn the_compose_file_gives_redis_a_password_and_a_memory_limit() {
    let text = read("docker-compose.yml");
    for part in [
        "QUOTAGATE_REDIS_URL: redis://:${REDIS_PASSWORD:?",
        "REDISCLI_AUTH: ${REDIS_PASSWORD:?",
        "requirepass $$REDISCLI_AUTH",
        "--maxmemory 1gb --maxmemory-policy noeviction",
    ] {
        assert!(text.contains(part), "docker-compose.yml lacks `{part}`");
    }
    // `:?` has no default, `:-` has one.
    assert!(!text.contains("PASSWORD:-") && !text.contains("PASSWORD}"), "a password without `:?` may be empty");
}

/// Answers every request with the result of `answer` for its queries, and sends the queries over the channel.
fn advisory_database(answer: fn(&[Value]) -> String) -> (String, mpsc::Receiver<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, asked) = mpsc::channel();
    // The thread ends with the test process.
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let queries = queries_of(connection.as_ref().unwrap());
            connection.unwrap().write_all(answer(&queries).as_bytes()).unwrap();
            let _ = sender.send(queries);
        }
    });
    (url, asked)
}

fn queries_of(connection: &TcpStream) -> Vec<Value> {
    let mut reader = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    serde_json::from_slice::<Value>(&body).unwrap()["queries"].as_array().unwrap().clone()
}

fn ok(body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn audit(url: &str) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new("python3")
        .arg("scripts/audit.py")
        .env("AUDIT_URL", url)
        .env("no_proxy", "*")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("python3 is needed: scripts/install-sdk-tools.sh");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

#[test]
fn the_audit_asks_for_every_lock_file_and_reports_what_it_finds() {
    let (url, asked) = advisory_database(|queries| ok(&json!({ "results": vec![json!({}); queries.len()] })));
    let (code, reported) = audit(&url);
    assert_eq!(code, Some(0), "{reported}");
    assert!(reported.contains("no known advisories"), "{reported}");
    let queries: Vec<Value> = asked.try_iter().flatten().collect();
    for (ecosystem, name) in
        [("crates.io", "actix-web"), ("npm", "typescript"), ("PyPI", "httpx"), ("PyPI", "schemathesis")]
    {
        let package = json!({ "ecosystem": ecosystem, "name": name });
        assert!(queries.iter().any(|query| query["package"] == package && query["version"].is_string()), "{package}");
    }

    let (url, _) = advisory_database(|queries| {
        let advisories = |query: &Value| match query["package"]["name"].as_str() {
            Some("actix-web") => json!({ "vulns": [{ "id": "RUSTSEC-0000-0001" }] }),
            _ => json!({}),
        };
        ok(&json!({ "results": queries.iter().map(advisories).collect::<Vec<_>>() }))
    });
    let (code, reported) = audit(&url);
    assert_eq!(code, Some(1), "{reported}");
    assert!(
        reported.contains("actix-web") && reported.contains("RUSTSEC-0000-0001") && reported.contains("Cargo.lock"),
        "{reported}"
    );
}

#[test]
fn an_audit_that_could_not_check_says_so() {
    let answers: [fn(&[Value]) -> String; 5] = [
        |_| String::new(),
        |_| "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        |_| "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>welcome</html>".to_owned(),
        |_| ok(&json!({})),
        // Fewer results than packages: the state of the others is unknown.
        |_| ok(&json!({ "results": [{}] })),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let (url, _) = advisory_database(answer);
        let (code, reported) = audit(&url);
        assert_eq!(code, Some(3), "answer {number}: {reported}");
        assert!(reported.contains("NOT CHECKED") && !reported.contains("no known"), "answer {number}: {reported}");
    }
}
