//! Every page in light and dark, wide and on a phone: nothing overflows, everything can be read and reached.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::pages::{self, PAGES, PHONE};
use crate::support::World;
use crate::{shop, signed_in, without_faults};

pub const AXE: &str = include_str!("axe/axe.min.js");

async fn shown() -> (World, Browser) {
    let (world, browser) = signed_in().await;
    shop::opened(&world).await;
    shop::look(&world, &browser).await;
    (world, browser)
}

/// What is seen of a page: its theme, its window, and what axe looks at. In the dark nothing but colours is another.
pub const LOOKS: [(&str, (u32, u32), &[&str]); 3] =
    [("light", (1440, 900), ALL), ("dark", (1024, 768), COLOURS), ("light", PHONE, ALL)];
const ALL: &[&str] = &[];
const COLOURS: &[&str] = &["color-contrast", "link-in-text-block"];

/// What axe finds on the page as it is: rule, how bad, and where. `rules`: none for all.
pub async fn findings(browser: &Browser, rules: &[&str]) -> Vec<String> {
    let run = "const rules = arguments[0], only = rules.length > 0 ? {runOnly: {type: 'rule', values: rules}} : {}; \
        return axe.run(document, {resultTypes: ['violations'], ...only}).then((result) => result.violations.map((found) => \
        `${found.id} (${found.impact}): ` + found.nodes.slice(0, 3).map((node) => node.html.slice(0, 200) + ' ' + (node.any[0]?.message ?? '')).join(' | ')))";
    let found = browser.run(run, json!([rules])).await;
    found.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// How far the page reaches beyond its window, or less than 0.
pub async fn overflow(browser: &Browser) -> i64 {
    browser.run("return document.documentElement.scrollWidth - innerWidth", json!([])).await.as_i64().unwrap()
}

/// The tables that scroll sideways without the names of their rows in sight: the first column scrolls away, or fills the
/// frame.
pub async fn cut(browser: &Browser) -> Vec<String> {
    let found = "return [...document.querySelectorAll('main .scroll')].filter((frame) => { \
        const first = frame.querySelector('tbody tr > :first-child'); \
        if (first === null || !frame.checkVisibility() || frame.scrollWidth <= frame.clientWidth) return false; \
        const before = frame.scrollLeft; frame.scrollLeft = frame.scrollWidth; \
        const [box, column] = [frame, first].map((it) => it.getBoundingClientRect()); frame.scrollLeft = before; \
        return column.left < box.left - 1 || column.width > box.width / 2; \
        }).map((frame) => `${frame.ariaLabel}: ${frame.scrollWidth - frame.clientWidth} px are out of sight`)";
    let found = browser.run(found, json!([])).await;
    found.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_on_any_page_and_none_is_wider_than_its_window() {
    let (_world, browser) = shown().await;
    let load = format!("{AXE}; return typeof axe");
    assert_eq!(browser.run(&load, json!([])).await, "object");
    // Faults that are planted are found.
    let plant = "const button = document.createElement('button'); button.id = 'planted'; \
        button.style = 'color: #999; background: #888; width: 3000px'; document.querySelector('main').append(button)";
    browser.run(plant, json!([])).await;
    assert!(findings(&browser, ALL).await.iter().any(|finding| finding.starts_with("button-name")));
    assert!(overflow(&browser).await > 0);
    browser.run("document.getElementById('planted').textContent = 'dim'", json!([])).await;
    assert!(findings(&browser, COLOURS).await.iter().any(|finding| finding.starts_with("color-contrast")));
    browser.run("document.getElementById('planted').remove()", json!([])).await;
    browser.visit("#/users").await;
    browser.until("document.querySelector('main .scroll tbody tr') !== null").await;
    let widen = "document.querySelector('main .scroll table').style.minWidth = arguments[0]";
    browser.run(widen, json!(["3000px"])).await;
    assert_eq!(cut(&browser).await.len(), 1);
    browser.run(widen, json!([""])).await;
    let mut found = Vec::new();
    for (theme, (width, height), rules) in LOOKS {
        browser.theme(theme).await;
        browser.size(width, height).await;
        for page in PAGES {
            pages::visit(&browser, page).await;
            let about = format!("{} {theme} {width}", page.0);
            found.extend(findings(&browser, rules).await.into_iter().map(|finding| format!("{about}: {finding}")));
            let over = overflow(&browser).await;
            if over > 0 {
                found.push(format!("{about}: {over} too wide"));
            }
            found.extend(cut(&browser).await.into_iter().map(|table| format!("{about}: {table}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_phone_no_button_covers_an_amount() {
    let (world, browser) = shown().await;
    let support = world.admin.with("x-mode", "test");
    let grant = json!({"groupId": "calls", "scope": {"user": "ada"}, "amount": 1_000_000});
    support.post("grants", grant).await.expect(201);
    browser.size(PHONE.0, PHONE.1).await;
    let covered = "return [...document.querySelectorAll('main td.figure, main td code')].filter((cell) => { \
        cell.scrollIntoView({block: 'center', inline: 'nearest'}); const box = cell.getBoundingClientRect(); \
        const range = document.createRange(); range.selectNodeContents(cell); \
        return [...range.getClientRects()].some((line) => [line.left + 1, line.right - 1].some((x) => { \
            const top = document.elementFromPoint(x, line.top + line.height / 2); \
            return line.width > 2 && (top === null || !(cell.contains(top) || top.contains(cell))); })) && box.width > 0; \
        }).map((cell) => cell.innerText)";
    for page in ["#/users/ada", "#/keys", "#/approvals", "#/webhooks/ops"] {
        browser.visit(page).await;
        browser.until("document.querySelector('main td.end button') !== null").await;
        assert_eq!(browser.run(covered, json!([])).await, json!([]), "{page}");
        assert!(overflow(&browser).await <= 0, "{page}");
    }
    without_faults(browser).await;
}

/// Of the first row of the page's table: what is not in sight, and what lacks the name of its column.
const UNREADABLE: &str = "const row = document.querySelector('main .scroll tbody tr'); row.scrollIntoView(); \
    return [...row.cells].filter((cell) => cell.innerText.trim() !== '').filter((cell) => { \
        const box = cell.getBoundingClientRect(); const named = cell.dataset.label && getComputedStyle(cell, '::before').content !== 'none'; \
        const title = cell === row.cells[0] || cell.matches('.lead, .full'); \
        return box.width < 1 || box.left < 0 || box.right > innerWidth || (!title && !named); \
        }).map((cell) => cell.outerHTML.slice(0, 200))";

/// The parts of tables with cards that do not say what they are: without a role, some screen readers announce no table.
/// Also the names of columns that would be read aloud twice.
const WITHOUT_ROLE: &str = "const frames = [...document.querySelectorAll('main .scroll.rows')]; \
    const roles = {TABLE: ['table'], THEAD: ['rowgroup'], TBODY: ['rowgroup'], TR: ['row'], TD: ['cell'], TH: ['columnheader', 'rowheader']}; \
    const parts = frames.map((frame) => frame.firstElementChild).flatMap((table) => \
        [table, ...table.querySelectorAll(':scope > thead, :scope > tbody'), ...table.rows, ...[...table.rows].flatMap((row) => [...row.cells])]); \
    const twice = (part) => { const content = getComputedStyle(part, '::before').content; return part.tagName === 'TD' && content !== 'none' && !content.endsWith('/ \"\"'); }; \
    return parts.filter((part) => !roles[part.tagName].includes(part.getAttribute('role')) || twice(part)).map((part) => part.outerHTML.slice(0, 200))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_phone_rows_are_cards_in_which_everything_is_in_sight() {
    let (_world, browser) = shown().await;
    browser.size(PHONE.0, PHONE.1).await;
    // The mode is in sight, and what belongs to it is behind it.
    assert!(!browser.text().await.contains("Sign out"));
    browser.click("Mode Test").await;
    browser.sees("Sign out").await;
    // The button names the mode like the menu.
    let chosen = "return document.querySelector('#mode').selectedOptions[0].textContent";
    assert_eq!(browser.run(chosen, json!([])).await, "Test");
    browser.click("Mode Test").await;
    for theme in ["light", "dark"] {
        browser.theme(theme).await;
        for (page, names) in [
            ("#/events", &["User", "Event", "Charged", "Reason, outcome"][..]),
            ("#/alerts", &["About", "Message"]),
            ("#/audit", &["Action", "Target"]),
            ("#/plans", &["Name", "Period", "Limit groups"]),
            ("#/policies", &["Owner", "Limit groups", "Next review"]),
            ("#/webhooks", &["URL", "Events", "Last delivery"]),
        ] {
            browser.visit(page).await;
            browser.until("document.querySelector('main .scroll tbody tr') !== null").await;
            assert_eq!(browser.run(UNREADABLE, json!([])).await, json!([]), "{page} {theme}");
            let named =
                "return [...document.querySelector('main .scroll tbody tr').cells].map((cell) => cell.dataset.label)";
            let named = browser.run(named, json!([])).await;
            assert!(names.iter().all(|name| named.as_array().unwrap().contains(&json!(name))), "{page}: {named}");
            // With its details there is more to see, and still nothing out of sight.
            let open = "document.querySelector('tr[data-event] button')?.click(); \
                document.querySelectorAll('main td details').forEach((it) => { it.open = true; })";
            browser.run(open, json!([])).await;
            browser.until("document.querySelector('tr[data-event]') === null || document.querySelector('tr.details') !== null").await;
            let text = browser.text().await;
            assert_eq!(text.contains("as saved"), page == "#/events", "{text}");
            assert_eq!(browser.run(WITHOUT_ROLE, json!([])).await, json!([]), "{page} {theme}");
            // The sandbox is in 2031; operators, keys and versions are not.
            assert!(!text.contains(" years"), "{text}");
            assert_eq!(cut(&browser).await, Vec::<String>::new(), "{page} {theme}");
            assert!(overflow(&browser).await <= 0, "{page} {theme}");
        }
    }
    without_faults(browser).await;
}

/// Each control, focused as by the keyboard, and what is drawn around it.
pub const FOCUSED: &str = "const controls = [...(document.querySelector('dialog[open]') ?? document).querySelectorAll('a[href], button:not(:disabled), input:not(:disabled), \
    select:not(:disabled), textarea, summary, [tabindex=\"0\"]')].filter((it) => it.checkVisibility({contentVisibilityAuto: true}) && it.getClientRects().length > 0 && !it.matches('.skip')); \
    return controls.filter((it) => { it.focus(); const style = getComputedStyle(it); \
        return document.activeElement !== it || style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 2; }).map((it) => it.outerHTML.slice(0, 160))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_focused_control_shows_its_focus() {
    let (_world, browser) = shown().await;
    let mut hidden = Vec::new();
    for page in PAGES {
        pages::visit(&browser, page).await;
        let name = page.0;
        // From a key press on, the browser takes the focus for one of the keyboard. It must not leave the page, as it does
        // behind the last control.
        let first = "(document.querySelector('dialog[open]') ?? document).querySelector('a[href], button').focus()";
        browser.run(first, json!([])).await;
        browser.press("\u{e004}").await;
        let found: Value = browser.run(FOCUSED, json!([])).await;
        hidden.extend(found.as_array().unwrap().iter().map(|control| format!("{name}: {control}")));
    }
    assert!(hidden.is_empty(), "{}", hidden.join("\n"));
    without_faults(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_finds_nothing_in_its_browser_that_an_earlier_one_left() {
    let world = World::new().await;
    let seen = "return [localStorage.left, document.cookie, \
        matchMedia('(prefers-color-scheme: dark)').matches, innerWidth]";
    for _ in 0..3 {
        let browser = Browser::start().await;
        browser.open(&format!("{}/", world.node.url)).await;
        assert_eq!(browser.run(seen, json!([])).await, json!([null, "", false, 1200]));
        browser.run("localStorage.left = 1; document.cookie = 'left=1'", json!([])).await;
        browser.theme("dark").await;
        browser.size(400, 800).await;
        browser.another_tab().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_that_content_moved_out_of_its_way_is_repeated() {
    let browser = Browser::start().await;
    // The button moves away once, under the mouse that is pressed on it.
    let page = "document.body.innerHTML = '<button>Save</button>'; window.saved = 0; \
        const save = document.querySelector('button'); save.onclick = () => { window.saved += 1; }; \
        save.addEventListener('mousedown', () => { save.style.marginLeft = '300px'; }, { once: true })";
    browser.run(page, json!([])).await;
    browser.click("Save").await;
    assert_eq!(browser.run("return window.saved", json!([])).await, 1);
}
