//! Cursors that no page has returned: an error or the end of the list, never a failure of the store.

use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cursor_makes_a_list_fail() {
    let world = World::new().await;
    let admin = &world.admin;
    admin.plan("p", crate::support::monthly(20)).await;
    let app = json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [
        {"id": "whole", "unit": "count", "quota": 5, "scope": ["app"], "matches": [{"event": "image.*"}]},
        {"id": "packs", "kind": "balance", "unit": "count", "scope": ["app"]}]});
    admin.put("policies/whole", app).await.expect(200);
    let webhook = json!({"url": "https://example.com/hook", "events": ["limit.reached"]});
    admin.put("webhooks/ops", webhook).await.expect(200);
    let lists = [
        "alerts".to_owned(),
        "approvals".to_owned(),
        "audit".to_owned(),
        "counters?groupId=whole".to_owned(),
        "credits?groupId=packs".to_owned(),
        "estimates".to_owned(),
        "events".to_owned(),
        "events?order=asc".to_owned(),
        "grants".to_owned(),
        "limits?groupId=images".to_owned(),
        "limits?groupId=whole".to_owned(),
        "reports/usage".to_owned(),
        "users".to_owned(),
        "webhooks/ops/deliveries".to_owned(),
    ];
    let most = u64::MAX;
    let cursors = [
        "0-0".to_owned(),
        "0-0-0".to_owned(),
        "0-0-1".to_owned(),
        format!("0-{most}"),
        format!("0-{}", i64::MAX),
        format!("{most}-{most}"),
        format!("{most}-{most}-{most}"),
        format!("{most}-{most}-0"),
        format!("led_00_{most}-{most}"),
        "led_00_0-0".to_owned(),
        "den_ff_0-0".to_owned(),
        "den_00_0-1".to_owned(),
        format!("{most}"),
        format!("{}", i64::MAX),
        format!("{}", u32::MAX),
        "00".to_owned(),
        "ff".to_owned(),
        String::new(),
        // ["262142-12-31",[]] and ["2027-01-31",[null]]
        "WyIyNjIxNDItMTItMzEiLFtdXQ".to_owned(),
        "WyIyMDI3LTAxLTMxIixbbnVsbF1d".to_owned(),
    ];
    for list in &lists {
        let sign = if list.contains('?') { '&' } else { '?' };
        for cursor in &cursors {
            let answer = admin.get(&format!("{list}{sign}cursor={cursor}")).await;
            match answer.status {
                200 => {}
                400 => assert_eq!(answer.bad_field(), "cursor"),
                other => panic!("{list} from {cursor:?}: {other} {}", answer.text),
            }
        }
    }
}
