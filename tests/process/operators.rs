//! The commands of daily operations, as people and scripts use them.

use serde_json::{Value, json};

use crate::commands::{command, done, on_terminal, printed, read, refused, secret_key};
use crate::gateway::{ADMIN_KEY, Process, run};
use crate::support::folder;

const PLAN: &str = "id: free
name: Free
periodType: monthly
groups:
  - {id: images, label: Images, unit: count, quota: 5, matches: [{event: image.*, metadata: {size: [1k, 2k]}}]}
";

pub struct Desk {
    dir: tempfile::TempDir,
    pub gateway: Process,
    /// A secret key.
    pub key: String,
}

impl Desk {
    pub async fn new() -> Self {
        let dir = folder();
        let gateway = Process::start(dir.path(), &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)]);
        let key = secret_key(&gateway).await;
        let desk = Self { dir, gateway, key };
        desk.put("plans", "free.yaml", PLAN);
        desk.put("plans", "pro.yaml", &PLAN.replace("free", "pro").replace("quota: 5", "quota: 50"));
        desk
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn put(&self, kind: &str, name: &str, text: &str) -> String {
        self.done(&[kind, "put", &self.file(name, text)])
    }

    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        done(&self.gateway, arguments)
    }

    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> String {
        refused(&self.gateway, arguments)
    }

    async fn reserve(&self, user: &str, quantity: u64) -> Value {
        let body = json!({"userId": user, "event": "image.a", "quantity": quantity, "metadata": {"size": "1k"}, "ttlSeconds": 3600});
        self.gateway.call("POST", "reserve", &self.key, &body).await
    }
}

/// A line of a table, with one space between its cells.
#[track_caller]
fn line(table: &str, first: &str) -> String {
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(first));
    let line = line.unwrap_or_else(|| panic!("no line {first} in {table}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_found_shown_subscribed_moved_blocked_and_reset() {
    let desk = Desk::new().await;
    let none = "No users in live mode. `quotagate users subscribe USER PLAN` puts one on a plan. ";
    assert!(desk.done(&["users", "list"]).starts_with(none));
    let subscribed = desk.done(&["users", "subscribe", "Ada", "free", "--note", "first customer"]);
    assert!(subscribed.starts_with("Ada is on plan free since 20"), "{subscribed}");
    assert!(desk.done(&["users", "subscribe", "Ada", "free"]).starts_with("Ada is already on plan free"));
    desk.done(&["users", "subscribe", "bob", "free", "--ends-at", "2099-01-01T00:00:00Z"]);
    let list = desk.done(&["users", "list"]);
    assert!(
        line(&list, "bob").ends_with(" 2099-01-01T00:00:00Z no -")
            && line(&list, "USER") == "USER NAME PLAN SINCE ENDS BLOCKED TAGS",
        "{list}"
    );
    let found = desk.done(&["users", "list", "--search", "AD"]);
    assert!(found.contains("Ada") && !found.contains("bob"), "{found}");
    let nobody = desk.done(&["users", "list", "--search", "zoe"]);
    assert!(nobody.starts_with("No user with \"zoe\" in live mode. "), "{nobody}");
    let page = command(&desk.gateway, ADMIN_KEY, &["users", "list", "--limit", "1"]);
    assert!(
        page.1.contains("Ada") && !page.1.contains("bob") && page.2 == "There are more: --limit shows more of them.\n",
        "{page:?}"
    );
    let list = read(&desk.done(&["users", "list", "--json"]));
    assert_eq!((&list["data"][1]["userId"], &list["more"]), (&json!("bob"), &json!(false)));

    let reservation = desk.reserve("Ada", 2).await["reservationId"].as_str().unwrap().to_owned();
    let shown = desk.done(&["users", "show", "Ada"]);
    assert!(shown.starts_with("Ada: plan free since 20"), "{shown}");
    assert!(line(&shown, "images").starts_with("images user=Ada 0 2 5 0 3 count 20"), "{shown}");
    assert!(line(&shown, &reservation).contains("image.a 2 count images"), "{shown}");
    assert_eq!(read(&desk.done(&["users", "show", "Ada", "--json"]))["counters"][0]["held"], 2);

    assert_eq!(desk.done(&["users", "block", "Ada", "--note", "fraud"]), "Ada is blocked.\n");
    assert_eq!(desk.done(&["users", "block", "Ada"]), "Ada is already blocked.\n");
    assert!(desk.done(&["users", "show", "Ada"]).contains(", BLOCKED\n"));
    assert_eq!(desk.reserve("Ada", 1).await["reasons"], json!(["user_blocked"]));
    assert_eq!(desk.done(&["users", "unblock", "Ada"]), "Ada is unblocked.\n");
    let audit = desk.gateway.call("GET", "audit?action=user.block", ADMIN_KEY, &Value::Null).await;
    assert_eq!(audit["data"][0]["note"], "fraud", "{audit}");

    // A move shows what it does, and asks.
    let preview = desk.done(&["users", "move", "Ada", "pro", "--dry-run"]);
    assert!(
        preview.starts_with("Ada: plan free → pro\n") && preview.ends_with("Dry run: nothing was changed.\n"),
        "{preview}"
    );
    let (code, out, err) = command(&desk.gateway, ADMIN_KEY, &["users", "move", "Ada", "pro"]);
    assert!(code == Some(1) && out.contains("→ pro") && err.contains("add --yes to confirm"), "{out}{err}");
    assert!(desk.done(&["users", "show", "Ada"]).contains("plan free"));
    let moved = desk.done(&["users", "move", "Ada", "pro", "--yes"]);
    assert!(moved.contains("Ada is on plan pro since"), "{moved}");
    assert_eq!(desk.done(&["users", "move", "Ada", "pro"]), "Ada is already on plan pro.\n");
    let nobody = "404 not_found: User `nobody` not found. This was live mode; --mode chooses other data.";
    assert_eq!(desk.refused(&["users", "move", "nobody", "pro", "--yes"]), nobody);
    assert_eq!(desk.refused(&["users", "show", "nobody"]), nobody);
    // The hint is only for users: another mode has the same apps and addresses.
    let no_app = desk.refused(&["users", "show", "Ada", "--app", "nowhere"]);
    assert!(no_app.starts_with("404 not_found: App `nowhere` not found."), "{no_app}");
    assert!(!no_app.contains("--mode"), "{no_app}");
    let elsewhere = format!("{}/elsewhere", desk.gateway.url);
    let no_path = desk.refused(&["users", "show", "Ada", "--url", &elsewhere]);
    assert!(no_path.contains(" does not exist.") && !no_path.contains("--mode"), "{no_path}");

    desk.gateway.call("POST", "commit", &desk.key, &json!({"reservationId": reservation})).await;
    assert!(line(&desk.done(&["users", "show", "Ada"]), "images").starts_with("images user=Ada 2 0 50 0 48 count"));
    let (code, out, _) = on_terminal(&desk.gateway, "y", &["users", "reset", "bob"]);
    assert!(code == Some(0) && out.contains("Reset all limits of bob to 0? [y/N] y"), "{out}");
    assert!(desk.refused(&["users", "reset", "bob", "--group", "nothing", "--yes"]).contains("nothing"));
    let ended = desk.done(&["users", "cancel", "bob", "--yes"]);
    assert!(ended.starts_with("The subscription of bob to plan free ends at 20"), "{ended}");
    assert!(desk.done(&["users", "show", "bob"]).starts_with("bob: no subscription\n"));
    assert!(desk.refused(&["users", "move", "bob", "pro", "--yes"]).contains("use `quotagate users subscribe`"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_have_a_display_name_and_tags_which_are_set_shown_and_found() {
    let desk = Desk::new().await;
    desk.done(&["users", "subscribe", "u_1", "free"]);
    let set = |more: &[&str]| desk.done(&[&["users", "set", "u_1"], more].concat());
    assert_eq!(
        set(&["--name", "Ada Lovelace", "--tag", "vip", "--tag", "beta"]),
        "u_1: name Ada Lovelace, tags vip, beta\n"
    );
    // What is not named stays.
    assert_eq!(set(&["--tag", "beta", "--tag", "eu", "--untag", "vip"]), "u_1: name Ada Lovelace, tags beta, eu\n");
    let shown = desk.done(&["users", "show", "u_1"]);
    assert!(shown.contains("\nname: Ada Lovelace\ntags: beta, eu\n"), "{shown}");
    for text in ["LOVE", "beta"] {
        let found = desk.done(&["users", "list", "--search", text]);
        assert!(
            line(&found, "u_1").starts_with("u_1 Ada Lovelace free 20") && found.ends_with("beta, eu\n"),
            "{found}"
        );
    }
    let json = read(&set(&["--name", "", "--json"]));
    assert_eq!(json, json!({"userId": "u_1", "tags": ["beta", "eu"]}));
    assert_eq!(set(&["--untag", "beta", "--untag", "eu"]), "u_1: name -, tags -\n");
    assert!(!desk.done(&["users", "show", "u_1"]).contains("name:"));
    let audit = desk.gateway.call("GET", "audit?action=user.profile", ADMIN_KEY, &Value::Null).await;
    assert_eq!(audit["data"].as_array().unwrap().len(), 4, "{audit}");
    let long = "x".repeat(33);
    assert!(desk.refused(&["users", "set", "u_1", "--tag", &long]).starts_with("400 invalid_request: tags[0]: "));
    assert!(desk.refused(&["users", "set", "u_2", "--tag", "vip"]).starts_with("404 not_found: "));
    assert_eq!(command(&desk.gateway, ADMIN_KEY, &["users", "set", "u_1"]).0, Some(2), "what?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_and_policies_are_shown_put_rolled_back_and_deleted() {
    let desk = Desk::new().await;
    let list = desk.done(&["plans", "list"]);
    assert!(line(&list, "free").starts_with("free Free images monthly "), "{list}");
    let shown = desk.done(&["plans", "show", "free"]);
    assert!(shown.contains("name:             Free\n"), "{shown}");
    assert_eq!(line(&shown, "images"), "images Images count 5 monthly user hard image.* (size=1k or 2k)");
    assert_eq!(read(&desk.done(&["plans", "show", "free", "--json"]))["groups"][0]["quota"], 5);
    // As a file it is the same plan.
    let yaml = desk.done(&["plans", "show", "free", "--yaml"]);
    assert_eq!(desk.put("plans", "same.yaml", &yaml), "Nothing to change.\n");

    let six = yaml.replace("quota: 5", "quota: 6");
    let file = desk.file("six.yaml", &six);
    let difference = "~ plan:free\n    groups.images.quota: 5 → 6\n";
    assert_eq!(
        desk.done(&["plans", "put", &file, "--dry-run"]),
        format!("{difference}Dry run: nothing was changed.\n")
    );
    let written = desk.done(&["plans", "put", &file]);
    assert!(written.starts_with(&format!("{difference}Written: version ")), "{written}");
    let unnamed = desk.file("unnamed.yaml", &six.replace("id: free\n", ""));
    assert!(desk.refused(&["plans", "put", &unnamed]).contains("has no `id`: add it to the file, or give --id"));
    assert_eq!(desk.done(&["plans", "put", &unnamed, "--id", "free"]), "Nothing to change.\n");
    let faulty = desk.file(
        "faulty.yaml",
        "id: free\nperiodType: monthly\ngroups:\n  - {id: g, unit: count, quota: -1, matches: [{event: x}]}\n",
    );
    assert!(desk.refused(&["plans", "put", &faulty]).starts_with(&format!("{faulty}:4: groups[0].quota: ")));

    let versions = desk.done(&["plans", "versions", "free"]);
    assert_eq!(versions.lines().count(), 3, "{versions}");
    let oldest = versions.lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    assert_eq!(read(&desk.done(&["plans", "versions", "free", "--json"]))["data"].as_array().unwrap().len(), 2);
    let (code, out, _) = on_terminal(&desk.gateway, "n", &["plans", "rollback", "free"]);
    assert!(
        code == Some(1) && out.contains("groups.images.quota: 6 → 5") && out.ends_with("Nothing was changed.\r\n"),
        "{out}"
    );
    assert!(
        desk.refused(&["plans", "rollback", "free", "7", "--yes"])
            .contains("has no version 7: `quotagate plans versions free` lists them")
    );
    assert!(desk.done(&["plans", "rollback", "free", &oldest, "--yes"]).contains("Written: version "));
    assert!(desk.done(&["plans", "show", "free"]).contains(" 5 "));

    desk.done(&["users", "subscribe", "ada", "free"]);
    let depends = command(&desk.gateway, ADMIN_KEY, &["plans", "delete", "free", "--dry-run"]);
    assert_eq!(depends.0, Some(1));
    assert!(
        depends.1.contains("1 user in live: on it, 0 of them") && depends.2.contains("--move-to moves them"),
        "{depends:?}"
    );
    let moved = desk.done(&["plans", "delete", "free", "--move-to", "pro", "--yes"]);
    assert!(moved.ends_with("Deleted plan free.\n"), "{moved}");
    assert!(desk.done(&["users", "show", "ada"]).starts_with("ada: plan pro"));
    assert!(desk.refused(&["plans", "show", "free"]).starts_with("404 not_found: "));

    let policy = "id: caps\nowner: ml\nreviewCadence: monthly\nperiodType: daily\ngroups:\n  - {id: all, unit: count, quota: 9, measure: event, scope: [app], matches: [{event: '*'}]}\n";
    assert!(desk.put("policies", "caps.yaml", policy).starts_with("+ policy:caps\nWritten: version "));
    assert!(line(&desk.done(&["policies", "list"]), "caps").starts_with("caps ml all 20"));
    assert!(
        desk.done(&["policies", "review", "caps", "--note", "still right"])
            .starts_with("Policy caps is reviewed. Next review: 20")
    );
    let shown = desk.done(&["policies", "show", "caps", "--yaml"]);
    assert_eq!(desk.put("policies", "caps.yaml", &shown), "Nothing to change.\n");
    let deleted = desk.done(&["policies", "delete", "caps", "--yes"]);
    assert_eq!(deleted, "The limit all (all) ends\nDeleted policy caps.\n");
    assert!(desk.done(&["policies", "list"]).starts_with("No policies yet. `quotagate policies put FILE` adds one"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_grants_are_created_listed_and_revoked() {
    let desk = Desk::new().await;
    let created = desk.done(&[
        "keys",
        "create",
        "--kind",
        "secret",
        "--mode",
        "test",
        "--sandbox",
        "ci",
        "--metadata",
        "team=red",
        "--name",
        "CI",
    ]);
    let key = created.split_whitespace().last().unwrap().to_owned();
    assert!(
        created.starts_with("Key key_") && created.contains(", shown once:") && key.starts_with("sk_test_"),
        "{created}"
    );
    let list = desk.done(&["keys", "list"]);
    let id = list.lines().find(|line| line.contains(" ci ")).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(!list.contains(&key), "{list}");
    let known = read(&desk.done(&["keys", "list", "--json"]))["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["id"] == id.as_str())
        .cloned()
        .unwrap();
    assert_eq!(
        (&known["metadata"], &known["name"], &known["sandbox"]),
        (&json!({"team": "red"}), &json!("CI"), &json!("ci"))
    );
    let usable = || command(&desk.gateway, &key, &["explain", "ada", "image.a"]).0;
    assert_eq!(usable(), Some(0));
    assert!(desk.refused(&["keys", "revoke", &id]).contains("add --yes to confirm"));
    assert_eq!(desk.done(&["keys", "revoke", &id, "--yes"]), format!("Revoked key {id}.\n"));
    assert_eq!(usable(), Some(1));
    let public = [
        "keys",
        "create",
        "--kind",
        "publishable",
        "--mode",
        "live",
        "--origin",
        "https://a.example",
        "--require-user-token",
    ];
    let created = desk.done(&public);
    assert!(created.contains("pk_live_") && created.contains("Secret for user tokens, shown once:"), "{created}");
    let admin = read(&desk.done(&["keys", "create", "--kind", "admin", "--role", "viewer", "--json"]));
    assert_eq!((&admin["role"], admin["key"].as_str().unwrap().get(..3)), (&json!("viewer"), Some("ak_")));
    let (code, _, err) = command(&desk.gateway, admin["key"].as_str().unwrap(), &["users", "block", "ada"]);
    let needed = "error: 403 forbidden_key: This call needs the role `support` or a higher one.\n";
    assert_eq!((code, err.as_str()), (Some(1), needed));
    let quiet = desk.done(&["keys", "create", "--kind", "secret", "--mode", "test", "--quiet"]);
    assert!(quiet.starts_with("sk_test_") && quiet.split_whitespace().count() == 1, "{quiet}");
    assert_eq!(command(&desk.gateway, quiet.trim(), &["explain", "ada", "image.a"]).0, Some(0));
    // What is missing is said before anything is sent.
    for arguments in [
        &["--kind", "secret"][..],
        &["--kind", "admin"],
        &["--kind", "publishable", "--mode", "live"],
        &["--kind", "secret", "--mode", "prod"],
        &["--kind", "secret", "--mode", "live", "--metadata", "red"],
        &["--kind", "secret", "--mode", "live", "--quiet", "--json"],
    ] {
        let (code, _, err) = command(&desk.gateway, ADMIN_KEY, &[&["keys", "create"], arguments].concat());
        assert_eq!(code, Some(2), "{arguments:?}: {err}");
    }

    desk.done(&["users", "subscribe", "ada", "free"]);
    let granted = desk.done(&["grants", "create", "images", "7", "--user", "ada", "--note", "goodwill"]);
    assert!(granted.starts_with("Granted 7 count of images (grt_"), "{granted}");
    let list = desk.done(&["grants", "list", "--user", "ada"]);
    let id = list.lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(line(&list, &id).contains("images user=ada 7 count 20") && list.trim_end().ends_with("goodwill"), "{list}");
    assert_eq!(desk.reserve("ada", 12).await["allowed"], true);
    assert_eq!(desk.done(&["grants", "revoke", &id, "--yes"]), format!("Revoked grant {id}.\n"));
    assert!(desk.done(&["grants", "list"]).starts_with("No active grants in live mode. `quotagate grants create "));
    let until = read(&desk.done(&[
        "grants",
        "create",
        "images",
        "1",
        "--scope",
        "user=ada",
        "--expires-at",
        "2099-01-01T00:00:00Z",
        "--json",
    ]));
    assert_eq!(until["endsAt"], "2099-01-01T00:00:00Z");
    assert_eq!(command(&desk.gateway, ADMIN_KEY, &["grants", "create", "images", "1"]).0, Some(2), "whose?");
    assert!(
        desk.refused(&["grants", "create", "images", "x1", "--user", "ada"]).starts_with("400 invalid_request: amount")
    );

    let set = ["limits", "set", "images", "3", "--user", "ada", "--until", "2099-01-01T00:00:00Z"];
    assert_eq!(desk.done(&set), "The quota of user=ada in images is 3, until 2099-01-01T00:00:00Z.\n");
    let list = desk.done(&["limits", "list", "images"]);
    assert!(line(&list, "user=ada").contains("user=ada 3 count 2099-01-01T00:00:00Z"), "{list}");
    let unlimited = read(&desk.done(&["limits", "set", "images", "unlimited", "--scope", "user=ada", "--json"]));
    assert_eq!(unlimited["quota"], serde_json::Value::Null);
    let remove = ["limits", "remove", "images", "--user", "ada"];
    assert_eq!(desk.done(&[&remove[..], &["--yes"]].concat()), "Removed the quota of user=ada in images.\n");
    let none = desk.done(&["limits", "list", "images"]);
    assert!(none.starts_with("No owner has another quota than the limit images in live mode. "), "{none}");
    assert!(desk.refused(&[&remove[..], &["--yes"]].concat()).starts_with("404 not_found"));
    assert_eq!(command(&desk.gateway, ADMIN_KEY, &["limits", "set", "images", "1"]).0, Some(2), "whose?");

    let none = desk.done(&["estimates"]);
    assert!(none.starts_with("Nothing was learned in live mode. "), "{none}");
    let none = read(&desk.done(&["estimates", "--event", "llm.chat", "--json"]));
    assert_eq!(none, serde_json::json!({"data": [], "more": false}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_are_added_listed_and_voided() {
    let desk = Desk::new().await;
    let policy = "id: budgets\nperiodType: daily\ngroups:\n  - {id: packs, kind: balance, unit: count}\n  - {id: budget, kind: balance, unit: cents, scope: [metadata.team]}\n";
    desk.put("policies", "budgets.yaml", policy);
    let list = ["credits", "list", "packs", "--user", "ada"];
    let none = desk.done(&list);
    assert!(none.starts_with("No credits of user=ada in packs in live mode. `quotagate credits add packs "), "{none}");
    let paid = ["credits", "add", "packs", "5", "--user", "ada", "--source-id", "pay_1"];
    let added = desk.done(&paid);
    assert!(added.starts_with("user=ada has 5 count of packs (crd_"), "{added}");
    assert!(added.ends_with("); it does not expire.\n"), "{added}");
    let end = "2099-01-01T00:00:00Z";
    let again = read(&desk.done(&[&paid[..], &["--expires-at", end, "--json"]].concat()));
    assert_eq!(again["expiresAt"], serde_json::Value::Null, "a payment adds once");
    let until = desk.done(&["credits", "add", "packs", "2", "--scope", "user=ada", "--expires-at", end]);
    assert!(until.ends_with("; it expires at 2099-01-01T00:00:00Z.\n"), "{until}");
    let id = again["id"].as_str().unwrap();
    assert_eq!(line(&desk.done(&list), id), format!("{id} 5 5 0 0 count live - pay_1"));
    let void = ["credits", "void", id, "--yes"];
    let part = desk.done(&[&void[..], &["--amount", "1", "--note", "goodwill"]].concat());
    assert_eq!(part, format!("Credit {id}: 1 count voided, 4 remaining, 0 held.\n"));
    assert_eq!(desk.done(&void), format!("Credit {id}: 5 count voided, 0 remaining, 0 held.\n"));
    assert_eq!(line(&desk.done(&list), id), format!("{id} 5 0 0 0 count voided - pay_1"));
    assert!(desk.refused(&["credits", "void", "crd_0", "--yes"]).starts_with("404 not_found"));

    desk.done(&["credits", "add", "budget", "0.5", "--scope", "metadata.team=red"]);
    let of_team = read(&desk.done(&["credits", "list", "budget", "--scope", "metadata.team=red", "--json"]));
    assert_eq!((&of_team["data"][0]["remaining"], &of_team["more"]), (&json!(0.5), &json!(false)));
    assert!(
        desk.refused(&["credits", "add", "images", "1", "--user", "ada"]).starts_with("400 invalid_request: groupId")
    );
    assert_eq!(command(&desk.gateway, ADMIN_KEY, &["credits", "add", "packs", "1"]).0, Some(2), "whose?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_says_why_and_what_became_of_a_reservation() {
    let desk = Desk::new().await;
    let explain = |more: &[&str]| desk.done(&[&["explain"], more].concat());
    let stranger = explain(&["ada", "image.a"]);
    assert!(stranger.starts_with("Denied: ") && stranger.contains("no subscription"), "{stranger}");
    assert!(stranger.ends_with("\nThis was live mode; --mode chooses other data.\n"), "{stranger}");
    desk.done(&["users", "subscribe", "ada", "free"]);
    let decision = desk.reserve("ada", 4).await;
    let allowed = explain(&["ada", "image.a", "--metadata", "size=1k"]);
    assert!(allowed.starts_with("Allowed"), "{allowed}");
    assert!(allowed.contains("\nada (plan free): image.a, quantity 1, size=1k\n"), "{allowed}");
    assert_eq!(line(&allowed, "images"), "images plan free 1 0 4 5 1 fits");
    let denied = explain(&["ada", "image.a", "--quantity", "2", "--metadata", "size=1k"]);
    assert!(denied.starts_with("Denied: ") && denied.contains("0 used + 4 held of 5"), "{denied}");
    assert!(line(&denied, "images").ends_with("no room"), "{denied}");
    let unmatched = explain(&["ada", "image.a"]);
    assert!(
        unmatched.starts_with("Denied: no limit of plan") && unmatched.contains("does not match: metadata `size`"),
        "{unmatched}"
    );
    assert_eq!(read(&explain(&["ada", "image.a", "--json"]))["call"]["allowed"], false);

    let id = decision["reservationId"].as_str().unwrap();
    let held = explain(&["--reservation", id]);
    assert!(held.starts_with(&format!("{id} is held.\nuser:    ada\nevent:   image.a\n")), "{held}");
    desk.gateway.call("POST", "commit", &desk.key, &json!({"reservationId": id})).await;
    let committed = explain(&["--reservation", id]);
    assert!(committed.contains(" is committed.\n") && committed.contains("4 count images"), "{committed}");
    let fit = json!({"userId": "ada", "event": "image.a", "quantity": 9, "metadata": {"size": "1k"},
        "fit": {"field": "quantity", "min": 1}});
    let fitted = desk.gateway.call("POST", "reserve", &desk.key, &fit).await;
    let fitted = explain(&["--reservation", fitted["reservationId"].as_str().unwrap()]);
    assert!(fitted.contains("\nfitted:  quantity 1 of 9, at least 1\n"), "{fitted}");
    for arguments in [&["ada"][..], &[], &["ada", "image.a", "--reservation", id]] {
        assert_eq!(command(&desk.gateway, ADMIN_KEY, &[&["explain"], arguments].concat()).0, Some(2), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_uses_the_same_address_and_key_and_fails_in_one_clear_line() {
    let desk = Desk::new().await;
    let file = desk.file("any.yaml", PLAN);
    let commands: [&[&str]; 10] = [
        &["users", "list"],
        &["plans", "list"],
        &["policies", "list"],
        &["keys", "list"],
        &["grants", "list"],
        &["limits", "list", "images"],
        &["explain", "ada", "image.a"],
        &["top", "--once"],
        &["export-config"],
        &["apply", &file],
    ];
    let url = desk.gateway.url.as_str();
    for arguments in commands {
        for (settings, expected) in [
            ([("QUOTAGATE_URL", url), ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)], "error: no key: set QUOTAGATE_KEY"),
            ([("QUOTAGATE_URL", url), ("QUOTAGATE_KEY", "sk_live_wrong")], "401 invalid_key"),
            ([("QUOTAGATE_URL", "http://127.0.0.1:1"), ("QUOTAGATE_KEY", ADMIN_KEY)], "http://127.0.0.1:1"),
            (
                [("QUOTAGATE_URL", "nowhere"), ("QUOTAGATE_KEY", ADMIN_KEY)],
                "is not an address like http://127.0.0.1:8080",
            ),
        ] {
            let (code, out, err) = printed(run(arguments, &settings));
            assert_eq!((code, err.lines().count(), out.as_str()), (Some(1), 1, ""), "{arguments:?}: {err}");
            assert!(err.starts_with("error: ") && err.contains(expected), "{arguments:?}, {settings:?}: {err}");
        }
    }
    // Options do the same, also behind the verb.
    let list =
        printed(run(&["users", "list", "--url", url, "--key", ADMIN_KEY, "--mode", "live", "--app", "default"], &[]));
    assert!(list.0 == Some(0) && list.1.starts_with("No users in live mode. ") && list.2.is_empty(), "{list:?}");
    assert!(desk.refused(&["users", "list", "--mode", "test/nowhere"]).contains("nowhere"));
    assert!(desk.refused(&["users", "show", ".."]).contains("is not a valid ID"));
    let (code, _, err) = command(&desk.gateway, &desk.key, &["users", "list"]);
    assert!(code == Some(1) && err.starts_with("error: 403 forbidden_key: "), "{err}");
}
