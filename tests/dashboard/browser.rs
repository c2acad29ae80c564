//! Drives headless Chromium over the WebDriver protocol.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::slots::Slot;
use crate::support::{PATIENCE, run};

/// The key under which WebDriver returns an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
pub const CONTROL: &str = "\u{e009}";
pub const SHIFT: &str = "\u{e008}";
/// Releases the modifier keys that are pressed.
const NO_KEY: &str = "\u{e000}";
const DELETE: &str = "\u{e017}";

/// Calls `look` until it returns null, or for two seconds: after each change of the page, and ten times a second, since not
/// everything changes the page. Returns what it returned last.
const WATCH: &str = "return new Promise((done) => { \
    const end = Date.now() + 2000; \
    let waits = false; \
    const seen = () => { try { return look(); } catch (error) { return String(error); } }; \
    const again = () => { \
        waits = false; \
        const found = seen(); \
        if (found !== null && Date.now() < end) return; \
        watcher.disconnect(); clearInterval(clock); done(found); }; \
    const watcher = new MutationObserver(() => { if (!waits) { waits = true; requestAnimationFrame(again); } }); \
    const clock = setInterval(again, 100); \
    watcher.observe(document, { subtree: true, childList: true, characterData: true, attributes: true }); \
    again(); })";

/// Browsers that no test is using at the moment. They end with the process.
static FREE: Mutex<Vec<Driven>> = Mutex::new(Vec::new());

/// `chromedriver` with one browser.
struct Driven {
    driver: Child,
    session: String,
}

/// A browser for one test, cleared of everything that earlier tests left in it. There are at most as many as slots.
pub struct Browser {
    driven: Option<Driven>,
    session: String,
    http: reqwest::Client,
    _slot: Slot,
}

fn chromium() -> &'static str {
    let names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
    let works = |name: &&str| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    names.into_iter().find(|name| works(name).is_ok()).expect("Chromium is installed by `make test`")
}

fn path_of(program: &str) -> String {
    let output = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Starts a driver; returns its process, its port, and its output. It takes a port that is free for IPv4, and exits at
/// once if the port is taken for IPv6; then another port is tried.
fn driver() -> (Child, u16, Lines<BufReader<ChildStdout>>) {
    for _ in 0..10 {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = run::spawn(&mut command).expect("chromedriver is installed by `make test`");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("successfully on port ")?;
            rest.trim_end_matches('.').parse().ok()
        });
        match port {
            Some(port) => return (driver, port, lines),
            None => driver.wait().map(drop).unwrap(),
        }
    }
    panic!("chromedriver finds no port");
}

impl Driven {
    async fn start(http: &reqwest::Client) -> Self {
        let (driver, port, lines) = driver();
        // Drains the output, so that the driver never blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let base = format!("http://127.0.0.1:{port}/session");
        // The last two: fewer processes, which takes a tenth less time.
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1200,900",
            "--in-process-gpu",
            "--disable-features=IsolateOrigins,site-per-process,SpareRendererForSitePerProcess",
        ];
        let options = json!({"binary": path_of(chromium()), "args": arguments});
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}, "unhandledPromptBehavior": "ignore"}}});
        let answer: Value = http
            .post(&base)
            .header("content-type", "application/json")
            .body(wanted.to_string())
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let id = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no browser: {answer}")).to_owned();
        Self { driver, session: format!("{base}/{id}") }
    }

    /// Closes the browser, then the session. The driver ends only the process it started, which on Debian is a script
    /// that waits for the browser. This does not use `http`, because a destructor cannot await.
    fn close(&self) -> std::io::Result<()> {
        let (address, session) = self.session["http://".len()..].split_once('/').unwrap();
        let command = json!({"cmd": "Browser.close", "params": {}}).to_string();
        for (method, path, body) in [("POST", "/goog/cdp/execute", command.as_str()), ("DELETE", "", "")] {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let length = body.len();
            write!(
                stream,
                "{method} /{session}{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
                 content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            )?;
            BufReader::new(stream).read_line(&mut String::new())?;
        }
        Ok(())
    }
}

impl Browser {
    pub async fn start() -> Self {
        let slot = Slot::take().await;
        let http = crate::support::http().build().unwrap();
        let free = FREE.lock().unwrap().pop();
        let used = free.is_some();
        let driven = match free {
            Some(driven) => driven,
            None => Driven::start(&http).await,
        };
        let browser = Self { session: driven.session.clone(), driven: Some(driven), http, _slot: slot };
        if used {
            browser.clean().await;
        }
        browser
    }

    /// Clears what an earlier test left: tabs, an open prompt, cookies, storage, the color scheme, and the log.
    async fn clean(&self) {
        let tabs = self.call("GET", "window/handles", None).await.unwrap();
        let tabs: Vec<&str> = tabs.as_array().unwrap().iter().map(|tab| tab.as_str().unwrap()).collect();
        for tab in &tabs[1..] {
            self.to_tab(tab).await;
            self.call("DELETE", "window", None).await.unwrap();
        }
        self.to_tab(tabs[0]).await;
        // Fails if there is no prompt, which is fine.
        let _ = self.call("POST", "alert/dismiss", Some(json!({}))).await;
        self.offline(false).await;
        let origin = self.run("return location.origin", json!([])).await;
        if origin != "null" {
            self.devtools("Storage.clearDataForOrigin", json!({"origin": origin, "storageTypes": "all"})).await;
        }
        self.devtools("Network.clearBrowserCookies", json!({})).await;
        self.devtools("Emulation.setEmulatedMedia", json!({"media": "", "features": []})).await;
        self.devtools("Emulation.clearDeviceMetricsOverride", json!({})).await;
        self.open("about:blank").await;
        self.call("POST", "se/log", Some(json!({"type": "browser"}))).await.unwrap();
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}/{path}", self.session));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let mut answer: Value = request.send().await.unwrap().json().await.unwrap();
        match answer["value"]["error"].as_str() {
            Some(error) => Err(format!("{path}: {error}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].take()),
        }
    }

    pub async fn open(&self, url: &str) {
        self.call("POST", "url", Some(json!({"url": url}))).await.unwrap();
    }

    pub async fn reload(&self) {
        self.call("POST", "refresh", Some(json!({}))).await.unwrap();
    }

    /// Runs a function body in the page.
    pub async fn run(&self, script: &str, arguments: Value) -> Value {
        self.call("POST", "execute/sync", Some(json!({"script": script, "args": arguments}))).await.unwrap()
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.call("POST", "goog/cdp/execute", Some(json!({"cmd": command, "params": parameters}))).await.unwrap()
    }

    /// Sets the preferred color scheme, `light` or `dark`.
    pub async fn theme(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    pub async fn size(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Sets whether the browser is offline.
    pub async fn offline(&self, offline: bool) {
        self.devtools("Network.enable", json!({})).await;
        let conditions = json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.devtools("Network.emulateNetworkConditions", conditions).await;
    }

    /// A screenshot of the page as a PNG.
    pub async fn picture(&self) -> Vec<u8> {
        use base64::Engine;
        let answer = self.devtools("Page.captureScreenshot", json!({"format": "png"})).await;
        base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    /// Opens a page by its address after the `#`, and waits until its data is loaded.
    pub async fn visit(&self, place: &str) {
        self.visit_any(place).await;
        // A page may normalize the filter in its address.
        let path = place.split('?').next().unwrap_or(place);
        let here = "const at = [...document.querySelectorAll('[role=status]')].some((it) => /^Loading/.test(it.textContent)); \
            const is_here = location.hash.split('?')[0] === arguments[0] && document.querySelector('main h1') !== null; \
            return is_here && !at ? null : 'it is still loading'";
        self.wait_for(place, here, json!([path])).await;
    }

    /// Opens a page without waiting for its data. Returns once the page has noticed the new address and is drawn.
    pub async fn visit_any(&self, place: &str) {
        let go = "return new Promise((done) => { \
            const drawn = () => requestAnimationFrame(() => requestAnimationFrame(() => done(true))); \
            const before = location.hash; location.hash = arguments[0]; \
            if (location.hash === before) drawn(); else addEventListener('hashchange', drawn, { once: true }); })";
        self.run(go, json!([place])).await;
    }

    /// Waits until the expression is true in the page.
    pub async fn until(&self, expression: &str) {
        let script = format!("const value = {expression}; return value === true ? null : String(value)");
        self.wait_for(expression, &script, json!([])).await;
    }

    /// Waits until the script returns null in the page; otherwise it says what is there instead. The page watches itself,
    /// which takes less of the processor than asking it again and again.
    async fn wait_for(&self, what: &str, script: &str, arguments: Value) {
        let watched = format!("const look = () => {{ {script} }}; {WATCH}");
        self.patiently(what, || async {
            let body = json!({"script": watched, "args": arguments});
            let found = self.call("POST", "execute/sync", Some(body)).await?;
            if found.is_null() { Ok(()) } else { Err(found.to_string()) }
        })
        .await;
    }

    /// Repeats the attempt until it succeeds, since pages load asynchronously.
    async fn patiently<T, F: Future<Output = Result<T, String>>>(&self, what: &str, attempt: impl Fn() -> F) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(20);
        loop {
            match attempt().await {
                Ok(found) => return found,
                Err(error) if Instant::now() > deadline => {
                    let page = self.run("return document.body.innerText", json!([])).await;
                    panic!("waited {PATIENCE:?} in vain until {what}: {error}\n{}", page.as_str().unwrap_or_default());
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            // A long wait leaves the processor to what is waited for.
            pause = (pause * 3 / 2).min(Duration::from_millis(100));
        }
    }

    async fn element(&self, xpath: &str) -> Result<String, String> {
        let found = self.call("POST", "element", Some(json!({"using": "xpath", "value": xpath}))).await?;
        Ok(found[ELEMENT].as_str().unwrap().to_owned())
    }

    /// Clicks the element. Content that arrives at that moment may move it away from the mouse, so a click that it did
    /// not receive is repeated.
    async fn click_at(&self, xpath: &str) {
        self.patiently(xpath, || async {
            let find = "const it = document.evaluate(arguments[0], document, null, 9, null).singleNodeValue; \
                window.clicked = false; \
                it?.addEventListener('click', () => { window.clicked = true; }, { capture: true, once: true }); \
                return it";
            let found = self.call("POST", "execute/sync", Some(json!({"script": find, "args": [xpath]}))).await?;
            let element = found[ELEMENT].as_str().ok_or("it is not there")?;
            self.call("POST", &format!("element/{element}/click"), Some(json!({}))).await?;
            // A page that the click opened does not know of it.
            let clicked = self.run("return window.clicked", json!([])).await;
            if clicked == false { Err("the click met something else".to_owned()) } else { Ok(()) }
        })
        .await;
    }

    /// Clicks the button or link of this name once it can be clicked, inside the open dialog if there is one.
    pub async fn click(&self, name: &str) {
        let named = format!("[normalize-space()={0} or @aria-label={0}]", quoted(name));
        let open = "[not(//dialog[@open]) or ancestor::dialog[@open]]";
        self.click_at(&format!("(//button{named}{open}[not(@disabled)] | //a{named}{open})[1]")).await;
    }

    /// Opens the page of this name from the menu.
    pub async fn page(&self, name: &str) {
        self.click_at(&format!("//nav[@aria-label='Pages']//a[normalize-space()={}]", quoted(name))).await;
        self.sees_title(name).await;
    }

    /// Replaces the text of the field of this name. A page that is redrawn meanwhile may restore the old text, so the
    /// result is compared and typed again if it differs.
    pub async fn fill(&self, name: &str, text: &str) {
        let xpath = format!("//*[@name={0} or @aria-label={0}]", quoted(name));
        self.patiently(&xpath, || async {
            let element = self.element(&xpath).await?;
            // Selects everything and types over it, as a person does: WebDriver's own clearing fires no input event.
            let keys = format!("{CONTROL}a{NO_KEY}{}", if text.is_empty() { DELETE } else { text });
            self.call("POST", &format!("element/{element}/value"), Some(json!({"text": keys}))).await?;
            let held = self.call("GET", &format!("element/{element}/property/value"), None).await?;
            // A list field accepts the text before a comma as an entry.
            let expected = if text.ends_with(',') { "" } else { text };
            if held == expected { Ok(()) } else { Err(format!("{name} holds {held}")) }
        })
        .await;
    }

    /// Clicks the field of this name, for example a checkbox.
    pub async fn click_field(&self, name: &str) {
        self.click_at(&format!("//*[@name={}]", quoted(name))).await;
    }

    pub async fn choose(&self, name: &str, value: &str) {
        // An option whose text is its value has no `value` attribute.
        let option = "option[@value={1} or (not(@value) and normalize-space()={1})]";
        let option = option.replace("{1}", &quoted(value));
        // The driver selects it without a mouse.
        let option = format!("//select[@name={0} or @id={0}]/{option}", quoted(name));
        self.patiently(&option, || async {
            let element = self.element(&option).await?;
            self.call("POST", &format!("element/{element}/click"), Some(json!({}))).await
        })
        .await;
    }

    /// Counts clicks from now on, until the page is reloaded.
    pub async fn count_clicks(&self) {
        let count = "window.clicks = 0; \
            if (!window.counting) addEventListener('click', (event) => { if (event.isTrusted && event.detail > 0) window.clicks += 1; }, true); \
            window.counting = true";
        self.run(count, json!([])).await;
    }

    pub async fn clicks(&self) -> u64 {
        self.run("return window.clicks", json!([])).await.as_u64().unwrap()
    }

    /// Presses keys in the focused element.
    pub async fn press(&self, keys: &str) {
        let active = self.call("GET", "element/active", None).await.unwrap()[ELEMENT].as_str().unwrap().to_owned();
        self.call("POST", &format!("element/{active}/value"), Some(json!({"text": keys}))).await.unwrap();
    }

    /// Presses a key like a keyboard does, also where no input is focused.
    pub async fn press_anywhere(&self, key: &str) {
        self.type_keys(&[("keyDown", key), ("keyUp", key)]).await;
    }

    /// Presses a key while another one, such as [`CONTROL`], is pressed.
    pub async fn press_with(&self, held: &str, key: &str) {
        self.type_keys(&[("keyDown", held), ("keyDown", key), ("keyUp", key), ("keyUp", held)]).await;
    }

    async fn type_keys(&self, moves: &[(&str, &str)]) {
        let actions: Vec<Value> = moves.iter().map(|(kind, key)| json!({"type": kind, "value": key})).collect();
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.call("POST", "actions", Some(body)).await.unwrap();
    }

    pub async fn text(&self) -> String {
        self.run("return document.body.innerText", json!([])).await.as_str().unwrap().to_owned()
    }

    /// Waits until the page shows this text.
    pub async fn sees(&self, text: &str) {
        let script = "return document.body.innerText.includes(arguments[0]) ? null : 'it is not there'";
        self.wait_for(&format!("sees {text:?}"), script, json!([text])).await;
    }

    pub async fn sees_title(&self, text: &str) {
        let script = "const title = document.querySelector('h1')?.textContent.trim(); \
            return title === arguments[0] ? null : String(title)";
        self.wait_for(&format!("the title {text:?}"), script, json!([text])).await;
    }

    /// Waits until no dialog is open.
    pub async fn sees_no_dialog(&self) {
        self.wait_for("no dialog", "return document.querySelector('dialog')?.innerText ?? null", json!([])).await;
    }

    /// Errors in the page's log, except for responses that tests ask for, and for a field that would have the focus if a
    /// test had not been in another one already.
    pub async fn faults(&self) -> Vec<String> {
        let log = self.call("POST", "se/log", Some(json!({"type": "browser"}))).await.unwrap();
        let reported = log.as_array().unwrap().iter().filter_map(|entry| entry["message"].as_str());
        reported
            .filter(|reported| !reported.contains("the server responded with a status of 4"))
            .filter(|reported| !reported.contains("Autofocus processing was blocked"))
            .map(str::to_owned)
            .collect()
    }

    pub async fn cookie(&self, name: &str) -> Value {
        self.call("GET", &format!("cookie/{name}"), None).await.unwrap()
    }

    /// Opens another tab of the same browser; returns the handles of the first and the new one.
    pub async fn another_tab(&self) -> (String, String) {
        let first = self.call("GET", "window", None).await.unwrap().as_str().unwrap().to_owned();
        let new = self.call("POST", "window/new", Some(json!({"type": "tab"}))).await.unwrap();
        let new = new["handle"].as_str().unwrap().to_owned();
        self.to_tab(&new).await;
        (first, new)
    }

    pub async fn to_tab(&self, handle: &str) {
        self.call("POST", "window", Some(json!({"handle": handle}))).await.unwrap();
    }

    pub async fn end(self) {
        drop(self);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let driven = self.driven.take();
        // A failed test leaves the browser in an unknown state, so it is not reused.
        if !std::thread::panicking() {
            FREE.lock().unwrap().extend(driven);
        }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        // A driver that ends leaves its browser running, so the browser is closed first.
        let _ = self.close();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A string literal in XPath, which has no escapes.
fn quoted(text: &str) -> String {
    match text.contains('\'') {
        true => format!("\"{text}\""),
        false => format!("'{text}'"),
    }
}
