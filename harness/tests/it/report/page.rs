//! A report, open in a browser.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use fantoccini::elements::Element;
use fantoccini::wd::{PrintConfigurationBuilder, PrintOrientation};
use fantoccini::{Client, Locator};
use harness::results::{ResultSet, Run};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::browser::{Complaints, DevTools, Driver};

/// How long a page may take for anything.
const PATIENCE: Duration = Duration::from_secs(180);

/// The page, with a browser of its own.
pub(super) struct Page {
    pub(super) client: Client,
    url: String,
    folder: PathBuf,
}

/// Opens the report of the result_set that has everything, and closes it after the test.
pub(super) fn with(test: impl AsyncFnOnce(&mut Page) -> Result<()>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = super::draw(folder.path())?;
    let driver = Driver::start()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut page = Page { client: driver.browser().await?, url, folder: folder.path().to_owned() };
        let done = test(&mut page).await;
        page.client.close().await?;
        done
    })
}

impl Page {
    /// The page as a reader finds it who has just come.
    pub(super) async fn fresh(&self) -> Result<()> {
        self.devtools("Emulation.clearDeviceMetricsOverride", json!({})).await?;
        self.devtools("Emulation.setEmulatedMedia", json!({ "media": "", "features": [] })).await?;
        self.client.goto(&self.url).await?;
        self.complaints().await.map(drop)
    }

    /// Its address, without any view of it.
    pub(super) fn address(&self) -> &str {
        &self.url
    }

    /// The result set that it was drawn from.
    pub(super) fn run(&self) -> Result<Run> {
        Ok(ResultSet::open(&self.folder)?.1)
    }

    /// What a script returns.
    pub(super) async fn js(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        Ok(self.client.execute(script, arguments).await?)
    }

    /// Waits until a script that is given `argument` returns true.
    pub(super) async fn until(&self, argument: &str, condition: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.js(condition, vec![json!(argument)]).await? != json!(true) {
            if Instant::now() > deadline {
                bail!("gave up waiting until `{condition}` for {argument}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The first element at an XPath.
    pub(super) async fn find(&self, path: &str) -> Result<Element> {
        self.client.find(Locator::XPath(path)).await.with_context(|| format!("there is no {path}"))
    }

    /// What the browser has complained of since it was last asked.
    pub(super) async fn complaints(&self) -> Result<Vec<Value>> {
        let all = self.client.issue_cmd(Complaints).await?;
        Ok(all.as_array().cloned().unwrap_or_default())
    }

    /// The reader's setting: `light` or `dark`.
    pub(super) async fn scheme(&self, scheme: &str) -> Result<()> {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await
    }

    /// Sets the page as it is set for paper.
    pub(super) async fn paper(&self) -> Result<()> {
        self.devtools("Emulation.setEmulatedMedia", json!({ "media": "print" })).await
    }

    /// The width of the window, px.
    pub(super) async fn width(&self, width: u32) -> Result<()> {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await
    }

    /// Prints, and counts the pages.
    pub(super) async fn print(&self) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        let paper = loop {
            let setup = PrintConfigurationBuilder::default().orientation(PrintOrientation::Landscape).build();
            let setup = setup.map_err(|error| anyhow!("cannot print so: {error:?}"))?;
            match self.client.print(setup).await {
                Ok(paper) => break paper,
                // The driver waits 10 s for it, whatever it is told, which is short on a busy machine.
                Err(error) if error.to_string().contains("timeout") && Instant::now() < deadline => {}
                Err(error) => return Err(error.into()),
            }
        };
        keep("report.pdf", &paper)?;
        // Chromium leaves the dictionaries of pages readable.
        let text = String::from_utf8_lossy(&paper);
        Ok(text.match_indices("/Type /Page").filter(|(at, _)| !text[at + 11..].starts_with('s')).count())
    }

    /// Leaves a picture for those who want to see.
    pub(super) async fn picture(&self, name: &str) -> Result<()> {
        keep(&format!("report-{name}.png"), &self.client.screenshot().await?)
    }

    async fn devtools(&self, command: &str, params: Value) -> Result<()> {
        self.client.issue_cmd(DevTools { command: command.to_owned(), params }).await?;
        Ok(())
    }
}

fn keep(name: &str, content: &[u8]) -> Result<()> {
    let Some(folder) = std::env::var_os("LAB_PICTURES") else { return Ok(()) };
    std::fs::create_dir_all(&folder)?;
    std::fs::write(Path::new(&folder).join(name), content)?;
    Ok(())
}
