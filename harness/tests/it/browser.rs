//! A real browser, headless, for the tests of pages.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use fantoccini::{Client, ClientBuilder};
use serde_json::{Value, json};

/// A command of Chromium's own, which WebDriver has none for.
#[derive(Debug)]
pub(crate) struct DevTools {
    pub(crate) command: String,
    pub(crate) params: Value,
}

impl fantoccini::wd::WebDriverCompatibleCommand for DevTools {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> std::result::Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (hyper::Method, Option<String>) {
        (hyper::Method::POST, Some(json!({ "cmd": self.command, "params": self.params }).to_string()))
    }
}

/// What the browser has complained of since it was last asked: errors of
/// scripts, and what a page's policy has blocked.
#[derive(Debug)]
pub(crate) struct Complaints;

impl fantoccini::wd::WebDriverCompatibleCommand for Complaints {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> std::result::Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (hyper::Method, Option<String>) {
        (hyper::Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}

/// ChromeDriver, at a port of its own choice.
pub(crate) struct Driver {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Driver {
    /// Where it is; Debian's package is called `chromium-driver`.
    pub(crate) fn find() -> Result<std::path::PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found =
            std::env::split_paths(&path).map(|folder| folder.join("chromedriver")).find(|file| file.exists());
        found.context("chromedriver is not on PATH; install the packages chromium and chromium-driver")
    }

    /// It looks for a port that is free on IPv4, and ends if just that one is taken
    /// on IPv6: so it is tried again.
    pub(crate) fn start() -> Result<Self> {
        let mut said = String::new();
        for _ in 0..5 {
            match Self::try_start()? {
                Ok(driver) => return Ok(driver),
                Err(words) => said = words,
            }
        }
        bail!("chromedriver did not start, but said: {said}")
    }

    /// The driver, or what it said before it ended.
    fn try_start() -> Result<Result<Self, String>> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(Self::find()?);
        harness::process::die_with_parent(&mut command);
        // What it and its browsers leave lies here, and goes with it.
        command.env("TMPDIR", folder.path()).env("HOME", folder.path());
        let mut child = command
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        let mut said = String::new();
        for line in lines.map_while(Result::ok) {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                let url = format!("http://127.0.0.1:{}", port.trim_end_matches('.'));
                return Ok(Ok(Self { child, url, folder }));
            }
            said.push_str(&line);
        }
        let _ = child.wait();
        Ok(Err(said))
    }

    pub(crate) async fn browser(&self) -> Result<Client> {
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1200,800",
            // Pages that scroll smoothly would move away from under a click.
            "--force-prefers-reduced-motion",
        ];
        let data = tempfile::tempdir_in(self.folder.path())?.keep();
        let args: Vec<String> = args
            .iter()
            .map(|arg| (*arg).to_owned())
            .chain([format!("--user-data-dir={}", data.display())])
            .collect();
        let options =
            json!({ "goog:chromeOptions": { "args": args }, "goog:loggingPrefs": { "browser": "ALL" } });
        let capabilities = serde_json::from_value(options)?;
        let connector = hyper_util::client::legacy::connect::HttpConnector::new();
        let client = ClientBuilder::new(connector).capabilities(capabilities).connect(&self.url).await;
        client.context("the browser did not start")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = harness::process::kill_tree(&[self.child.id()]);
        let _ = self.child.wait();
    }
}
