//! Pages over result sets of several machines, and over damaged ones.

use std::fs;
use std::path::Path;

use super::*;
use crate::report::fixture_of_tests::small;

fn results(dir: &Path) {
    small(&dir.join("2026-01-02-bench-quick"), |run| run.name = "2026-01-02-bench-quick".to_owned());
    small(&dir.join("other/2026-01-03-laptop-quick"), |run| {
        run.name = "2026-01-03-laptop-quick".to_owned();
        run.host.name = "<b>laptop".to_owned();
        run.cells[0].lab = "../<script>alert(1)</script>".to_owned();
    });
    fs::create_dir(dir.join("broken")).expect("a folder");
    fs::write(dir.join("broken/run.json"), "{").expect("it is writable");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_new_machine_is_a_new_folder() {
    let dir = tempfile::tempdir().expect("a folder");
    let (from, out) = (dir.path().join("results"), dir.path().join("site"));
    results(&from);
    let before = read(&from.join("2026-01-02-bench-quick/run.json"));
    let written = write(&from, &out, |_| true).expect("it writes").expect("it is not told to stop");
    assert_eq!((written.sets, written.machines), (2, 2));
    assert!(written.left_out[0].contains("broken") && written.left_out.len() == 1, "{written:?}");

    let index = read(&written.index);
    assert!(index.len() < 500_000 && index.len() == written.index_bytes);
    let plain = |text: String| text.replace("&#x2f;", "/");
    let index = plain(index);
    for part in [
        "sets/other/2026-01-03-laptop-quick/report.html",
        "labs/oneway-tcp.html",
        "&lt;b&gt;laptop",
        "broken",
    ] {
        assert!(index.contains(part), "{part} is not in the first page");
    }
    // Names are text, and lead nowhere else.
    let hostile = read(&out.join("labs/____script_alert_1___script_.html"));
    assert!(hostile.contains("&lt;script&gt;") && !hostile.contains("<script>"));
    assert!(!index.contains("<b>laptop"));
    // Every link leads to a page that is there.
    let mut followed = 0;
    for page in [&out.join("index.html"), &out.join("labs/oneway-redis.html")] {
        let text = plain(read(page));
        for link in text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let target = page.parent().expect("a folder").join(link.split('#').next().unwrap_or_default());
            assert!(target.is_file(), "{link} in {} leads nowhere", page.display());
            followed += 1;
        }
    }
    assert!(followed > 10, "{followed} links");
    // The cases of all, and the result sets as they were.
    assert!(read(&out.join("cases.csv")).lines().count() > 15);
    assert_eq!(read(&from.join("2026-01-02-bench-quick/run.json")), before);
    assert!(!from.join("2026-01-02-bench-quick/report.html").exists(), "a result set was changed");

    // Again: it is replaced as a whole.
    let foreign = out.join("labs/mine.html");
    fs::write(&foreign, "mine").expect("it is writable");
    let error = format!("{:#}", write(&from, &out, |_| true).expect_err("a file that it did not write"));
    assert!(error.contains("labs/mine.html") && read(&foreign) == "mine", "{error}");
    fs::remove_file(&foreign).expect("it was there");
    fs::write(out.join("labs/oneway-tcp.html"), "old").expect("it is writable");
    fs::remove_dir_all(from.join("broken")).expect("it was there");
    assert!(
        write(&from, &out, |_| true).expect("again").expect("it is not told to stop").left_out.is_empty()
    );
    assert_ne!(read(&out.join("labs/oneway-tcp.html")), "old");
    let left: Vec<_> =
        fs::read_dir(dir.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "something was left behind: {left:?}");
}

#[test]
fn a_folder_of_something_else_is_not_replaced() {
    let dir = tempfile::tempdir().expect("a folder");
    let from = dir.path().join("results");
    results(&from);
    let out = dir.path().join("thesis");
    fs::create_dir(&out).expect("a folder");
    fs::write(out.join("thesis.tex"), "work").expect("it is writable");
    let error = format!("{:#}", write(&from, &out, |_| true).expect_err("refused"));
    assert!(error.contains("thesis") && error.contains("another --out"), "{error}");
    assert_eq!(read(&out.join("thesis.tex")), "work");
    // Nor is a folder of result sets, whatever else is in it.
    fs::write(from.join(MARK), "").expect("it is writable");
    for out in [&from, &dir.path().to_owned()] {
        let error = format!("{:#}", write(&from, out, |_| true).expect_err("refused"));
        assert!(error.contains("did not write"), "{error}");
    }
    assert!(from.join("2026-01-02-bench-quick/run.json").is_file());
    // One that is interrupted leaves nothing behind.
    let new = dir.path().join("new");
    assert_eq!(write(&from, &new, |_| false).expect("it stops"), None);
    let left = fs::read_dir(dir.path()).expect("a folder").flatten().map(|entry| entry.file_name());
    assert!(left.into_iter().all(|name| name != "new" && !name.to_string_lossy().starts_with(".lab")));
    // Nothing to show is no site.
    let error = format!("{:#}", write(&out, &dir.path().join("new"), |_| true).expect_err("refused"));
    assert!(error.contains("no folder in") && error.contains("is a result set"), "{error}");
    assert!(!dir.path().join("new").exists());
}
