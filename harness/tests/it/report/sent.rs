//! What a reader sends to others: a view as an address, a table as CSV, a report with hostile names.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use fantoccini::Locator;
use harness::results::{ResultSet, Run};
use serde_json::{Value, json};

use super::fixture;
use super::page::Page;

/// All that can be seen of the tables, row by row.
const SEEN: &str = "return [...document.querySelectorAll('table.answer tr, #words tr')]
    .filter((row) => row.checkVisibility())
    .map((row) => [...row.cells].filter((cell) => cell.checkVisibility()).map((cell) => cell.textContent).join('|'))
    .join('\\n');";

/// Chooses a value of a filter, as a reader does.
async fn choose(page: &Page, filter: &str, value: &str) -> Result<()> {
    let select = page.find(&format!("//form[@id='filters']//select[@name='{filter}']")).await?;
    let chosen = match (filter, value) {
        ("compare", "") => select.select_by_label("no lab").await,
        ("compare", lab) => select.select_by_label(lab).await,
        _ => select.select_by_value(value).await,
    };
    chosen.with_context(|| format!("{filter} has no {value}"))
}

async fn text(page: &Page, script: &str) -> Result<String> {
    let found = page.js(script, Vec::new()).await?;
    found.as_str().map(str::to_owned).with_context(|| format!("{script} is no text: {found}"))
}

/// A filtered and sorted view is restored from its address, to the letter.
pub(super) async fn views(page: &Page) -> Result<()> {
    let whole = text(page, SEEN).await?;
    for filters in [
        &[("pattern", "oneway")][..],
        &[("guarantee", "durable")],
        &[("transport", "redis"), ("load", "max")],
        &[("pattern", "pipeline"), ("load", "1000/s")],
        &[("pattern", "queue"), ("compare", "queue-rabbitmq")],
        &[("broker", "none"), ("overload", "waits")],
        &[("size", "64")],
    ] {
        page.fresh().await?;
        for (name, value) in filters {
            // What every row has is no filter in this result set.
            if page.client.find(Locator::Css(&format!("select[name={name}]"))).await.is_ok() {
                choose(page, name, value).await.with_context(|| format!("{filters:?}"))?;
            }
        }
        // A table is sorted, too: the first that is left.
        page.js(
            "[...document.querySelectorAll('table.answer thead button')].find((head) => head.checkVisibility())?.click()",
            Vec::new(),
        )
        .await?;
        let (seen, address) = (text(page, SEEN).await?, text(page, "return location.href").await?);
        ensure!(seen != whole, "{filters:?} changes nothing");
        ensure!(
            seen.lines().count() < whole.lines().count() || filters[0].0 == "size",
            "{filters:?} hides nothing"
        );
        // A colleague opens it.
        page.client.goto("about:blank").await?;
        page.client.goto(&address).await?;
        let again = text(page, SEEN).await?;
        ensure!(again == seen, "{address} shows\n{again}\n\nand not\n{seen}");
        ensure!(text(page, "return location.href").await? == address, "the address changes");
        ensure!(page.complaints().await?.is_empty(), "{address}: the browser complains");
    }
    // What nobody has is no filter, and never becomes markup.
    let plain = page.address();
    for hostile in [
        "?pattern=%3Cimg%20src=x%3E",
        "?__proto__=1&load=%",
        "?sort.results-oneway=%3Cb%3E.ascending",
        "nowhere?open=x",
    ] {
        page.client.goto("about:blank").await?;
        page.client.goto(&format!("{plain}#{hostile}")).await?;
        ensure!(text(page, SEEN).await? == whole, "{hostile} changes what is shown");
        ensure!(page.complaints().await?.is_empty(), "{hostile}: the browser complains");
    }
    Ok(())
}

/// Beside each figure stands its ratio to that of the lab that was chosen, as the figures themselves say,
/// and the same the other way round.
pub(super) async fn compares(page: &Page) -> Result<()> {
    let labs = ["oneway-tcp", "oneway-redis"];
    let ratio = async |chosen: &str, of: &str| -> Result<(f64, f64, String)> {
        page.fresh().await?;
        choose(page, "compare", chosen).await?;
        let said = format!(
            "const row = (lab) => document.querySelector(`#results-oneway tr[data-lab='${{lab}}'][data-load*='max']`);
            const of = (row) => Number(row.cells[1].querySelector('strong').textContent.replace(/\\s/g, ''));
            const cell = row('{of}').cells[1];
            return [of(row('{of}')) / of(row('{chosen}')), cell.querySelector('.versus').textContent,
                document.querySelector('#compared').checkVisibility(),
                row('{chosen}').querySelectorAll('.versus').length];"
        );
        let found = page.js(&said, Vec::new()).await?;
        let (figures, text) =
            (found[0].as_f64().context("no figures")?, found[1].as_str().context("no ratio")?);
        ensure!(found[2] == json!(true) && found[3] == json!(0), "{found}");
        let shown: f64 =
            text.split('\u{202f}').next().and_then(|text| text.parse().ok()).context("no number")?;
        Ok((figures, shown, text.to_owned()))
    };
    let there = ratio(labs[0], labs[1]).await?;
    let back = ratio(labs[1], labs[0]).await?;
    for (figures, shown, text) in [&there, &back] {
        ensure!((figures / shown - 1.0).abs() < 0.02, "{text}, and the figures say {figures}");
    }
    let verdicts = [&there.2, &back.2].map(|text| text.rsplit(' ').next().unwrap_or_default().to_owned());
    ensure!(
        matches!(
            verdicts.each_ref().map(String::as_str),
            ["better", "worse"] | ["worse", "better"] | ["tell", "tell"]
        ),
        "{verdicts:?}"
    );
    // Nothing is compared any more, and nothing is left of it.
    choose(page, "compare", "").await?;
    let left = page.js("return document.querySelectorAll('.versus').length", Vec::new()).await?;
    ensure!(left == json!(0), "{left} ratios are left");
    Ok(())
}

/// What is copied as CSV has the figures of the result set.
pub(super) async fn copies(page: &Page, run: &Run) -> Result<()> {
    page.js(
        "window.copied = []; navigator.clipboard.writeText = (text) => { window.copied.push(text); return Promise.resolve(); };",
        Vec::new(),
    )
    .await?;
    choose(page, "load", "max").await?;
    let bar =
        "//table[@id='results-oneway']/ancestor::div[contains(@class, 'scroll')]/following-sibling::div[1]";
    for kind in ["CSV", "Markdown"] {
        page.find(&format!("{bar}//button[normalize-space()='Copy as {kind}']")).await?.click().await?;
    }
    page.until("", "return window.copied.length === 2").await?;
    let copied = page.js("return window.copied", Vec::new()).await?;
    let (csv, markdown) = (copied[0].as_str().context("no CSV")?, copied[1].as_str().context("no Markdown")?);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let names = reader.headers()?.clone();
    let at = |name: &str| names.iter().position(|known| known == name).with_context(|| format!("no {name}"));
    let (case, speed, lost, load) = (at("case")?, at("throughput_per_s")?, at("lost")?, at("load")?);
    let mut read = 0;
    for record in reader.records() {
        let record = record?;
        let cell = run.cells.iter().find(|cell| cell.id == record[case]);
        let summary = cell.and_then(|cell| cell.summary.as_ref()).with_context(|| record[case].to_owned())?;
        ensure!(record[speed].parse::<f64>()? == summary.throughput_per_s.median, "{}", &record[case]);
        ensure!(record[lost].parse::<u64>()? == summary.counts.lost, "{}", &record[case]);
        ensure!(&record[load] == "max", "{} was hidden", &record[case]);
        read += 1;
    }
    let shown = page
        .js(
            "return document.querySelectorAll('#results-oneway tr[data-pattern]:not([hidden])').length",
            Vec::new(),
        )
        .await?;
    ensure!(json!(read) == shown && read > 1, "{read} cases are copied of {shown}");
    // Each row of the Markdown has as many cells, and none of the other load.
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    let widths: Vec<usize> = markdown.lines().map(bars).collect();
    ensure!(widths.windows(2).all(|pair| pair[0] == pair[1]) && widths.len() == read + 2, "{markdown}");
    ensure!(!markdown.contains("p50"), "{markdown}");
    Ok(())
}

/// Names that somebody made up stay text, wherever they are shown.
pub(super) async fn hostile(page: &Page, folder: &Path) -> Result<()> {
    const EVIL: &str = "<img src=x onerror=\"window.owned = true\"></script><b>";
    fixture::small(folder, |run| {
        run.name = EVIL.to_owned();
        run.host.name = EVIL.to_owned();
        run.plan.knobs.insert(EVIL.to_owned(), 1);
        for cell in &mut run.cells {
            cell.knobs.insert(EVIL.to_owned(), 1);
        }
        for cell in run.cells.iter_mut().take(2) {
            (cell.lab, cell.transport, cell.overload) = (EVIL.to_owned(), EVIL.to_owned(), EVIL.to_owned());
        }
    });
    let written = harness::report::draw(folder)?;
    page.client.goto(&format!("file://{}", written.html.display())).await?;
    choose(page, "transport", EVIL).await?;
    choose(page, "overload", EVIL).await?;
    let address = text(page, "return location.href").await?;
    page.client.goto("about:blank").await?;
    page.client.goto(&address).await?;
    let found = page
        .js(
            "return [window.owned === true, document.querySelectorAll('img, b, iframe').length,
                document.querySelectorAll('script').length, document.querySelector('h1').textContent,
                document.querySelector('select[name=transport]').value,
                document.querySelectorAll('table.answer tr[data-pattern]:not([hidden])').length]",
            Vec::new(),
        )
        .await?;
    let expected = json!([false, 0, 2, EVIL, EVIL, 1]);
    ensure!(found == expected, "{found}, not {expected}");
    ensure!(page.complaints().await?.is_empty(), "the browser complains");
    Ok(())
}

/// The published report of all labs: small enough to send, and to print.
pub(super) async fn all_labs(page: &Page, folder: &Path) -> Result<()> {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/2026-11-24-vm-matrix");
    let (_, run) = ResultSet::open(&published)?;
    let mut labs: Vec<&str> =
        run.cells.iter().filter(|cell| !cell.is_floor()).map(|cell| cell.lab.as_str()).collect();
    labs.sort_unstable();
    labs.dedup();
    ensure!(labs.len() >= 61, "it has {} labs", labs.len());
    let html = harness::report::page_of(&published)?.html;
    ensure!(html.len() <= 1_000_000, "the report of {} labs has {} bytes", labs.len(), html.len());
    let file = folder.join("all.html");
    std::fs::write(&file, html)?;
    page.client.goto(&format!("file://{}", file.display())).await?;
    let pages = page.print().await?;
    ensure!(pages <= 20, "the report of {} labs has {pages} pages on paper", labs.len());
    // "Which durable queue should I take?" is answered on the first screen.
    page.width(1280).await?;
    let row = page
        .js(
            "const row = document.querySelector('#words tr[data-pattern=queue][data-guarantee=durable]');
            return [row.getBoundingClientRect().bottom < 900, row.textContent];",
            Vec::new(),
        )
        .await?;
    ensure!(row[0] == json!(true), "one has to scroll to it");
    let said = row[1].as_str().unwrap_or_default();
    ensure!(said.contains("/s at ") && said.contains("CPU") && said.contains('✓'), "{said}");
    Ok(())
}

/// Flags and ratios say what they mean, for the mouse and for the keyboard.
pub(super) async fn explains(page: &Page) -> Result<()> {
    let tips = page.js("return document.querySelectorAll('.tip').length", Vec::new()).await?;
    ensure!(tips != json!(0), "nothing explains itself");
    let focused = "const tip = document.querySelector('table.answer .tip');
        tip.focus();
        const box = document.getElementById('tip');
        const place = box.getBoundingClientRect();
        return [box.checkVisibility() && box.textContent === tip.dataset.tip, place.left >= 0 && place.right <= innerWidth,
            tip.getAttribute('aria-describedby') === 'tip'];";
    let found = page.js(focused, Vec::new()).await?;
    ensure!(found == json!([true, true, true]), "on focus: {found}");
    // A click on a flag leads to its rule, and keeps the view.
    let rules = page
        .js(
            "return [...document.querySelectorAll('a.flag')].every((flag) => {
                const rule = document.getElementById(flag.getAttribute('href').slice(1));
                return rule !== null && rule.nextElementSibling.textContent.includes('Rule: ');
            });",
            Vec::new(),
        )
        .await?;
    ensure!(rules == Value::Bool(true), "a flag leads to no rule");
    Ok(())
}
