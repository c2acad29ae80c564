//! Headers of every answer, whatever the route: no caching, no guessing of content types.

use serde_json::json;

use crate::raw_http::{request, routes, send};
use crate::support::{ROOT_KEY, World};

/// Routes that are added later are tested too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_the_api_is_kept_by_no_cache_and_its_type_is_not_guessed() {
    let world = World::new().await;
    let url = &world.node.url;
    let keys = ["", &format!("X-Api-Key: {}\r\n", world.app.key), &format!("X-Api-Key: {ROOT_KEY}\r\n")];
    let mut seen = std::collections::BTreeSet::new();
    let check = |what: &str, head: &str| {
        assert!(head.contains("\r\ncache-control: no-store\r\n"), "{what}: {head}");
        assert!(head.contains("\r\nx-content-type-options: nosniff\r\n"), "{what}: {head}");
        assert_eq!(head.matches("cache-control").count(), 1, "{what}: {head}");
    };
    for key in keys {
        for route in routes() {
            // Streams and queries need a user, which other calls reject.
            for query in ["", "?userId=u", "?nonsense=1"] {
                let line = format!("{} {}{query}", route.method, route.path);
                let reply = send(url, &request(&line, key.as_bytes(), b"{}")).await;
                check(&line, &reply.head);
                seen.insert(reply.status);
            }
        }
        for (line, status) in [
            ("GET /api/v1/nothing", 404),
            ("GET /nothing", 404),
            ("PATCH /api/v1/reserve", 405),
            ("OPTIONS /api/v1/usage", 204),
            ("GET /openapi.json", 200),
            ("GET /assets/nothing", 404),
            ("POST /", 405),
        ] {
            let reply = send(url, &request(line, key.as_bytes(), b"")).await;
            check(line, &reply.head);
            assert_eq!(reply.status, status, "{line}");
            seen.insert(reply.status);
        }
    }
    for status in [200, 204, 400, 401, 403, 404, 405] {
        assert!(seen.contains(&status), "{status} is not among {seen:?}");
    }
    // A sign-in, whose answer contains the session.
    let body = json!({"key": ROOT_KEY}).to_string();
    let reply = send(url, &request("POST /api/v1/session", b"", body.as_bytes())).await;
    assert_eq!(reply.status, 200);
    check("sign-in", &reply.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_the_dashboard_are_asked_for_again_by_their_tag_and_their_type_is_not_guessed() {
    let world = World::new().await;
    for path in ["/", "/docs", "/assets/main.js", "/assets/style.css"] {
        let answer = world.node.client("").get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}");
        assert_eq!(answer.headers.get_all("x-content-type-options").iter().count(), 1, "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let again = world.node.client("").with("if-none-match", answer.header("etag").unwrap()).get(path).await;
        assert_eq!((again.status, again.header("x-content-type-options")), (304, Some("nosniff")), "{path}");
    }
}
