use std::os::unix::fs::PermissionsExt as _;

use super::super::{Raw, ResultSet};
use super::*;

/// A result set with these recordings loose: cell `a`, trial by trial, told apart by a number.
fn set(dir: &Path, trials: &[(usize, u64)]) -> ResultSet {
    let result_set = ResultSet::at(dir);
    for &(trial, mark) in trials {
        let raw = Raw { interval_ns: mark, ..Raw::default() };
        result_set.save_raw("a", trial, &raw).expect("it writes");
    }
    result_set
}

/// What each trial's recording says, wherever it is read from.
fn marks(dir: &Path, trials: usize) -> Vec<u64> {
    let result_set = ResultSet::at(dir);
    (0..trials).map(|trial| result_set.raw("a", trial).expect("it is there").interval_ns).collect()
}

#[test]
fn what_was_loose_is_packed_and_read_as_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut result_set = set(dir.path(), &[(0, 10), (1, 11)]);
    result_set.save_loose("a.0.messages.csv", "receiver\n").expect("it writes");
    assert!(result_set.pack().expect("it packs"));
    assert!(!dir.path().join(FOLDER).exists());
    assert_eq!(marks(dir.path(), 2), [10, 11]);
    assert_eq!(result_set.read_raw("a.0.messages.csv").expect("it is there"), b"receiver\n");
    let missing = result_set.raw("a", 2).expect_err("it never was");
    assert!(format!("{missing:#}").contains("raw/a.2.json"), "{missing:#}");
    // Once more there is nothing to do.
    let before = fs::read(dir.path().join(ARCHIVE)).expect("it is there");
    assert!(!result_set.pack().expect("it packs"));
    assert_eq!(fs::read(dir.path().join(ARCHIVE)).expect("it is there"), before);
}

#[test]
fn a_resumed_run_adds_and_replaces() {
    let dir = tempfile::tempdir().expect("a folder");
    set(dir.path(), &[(0, 10), (1, 11)]).pack().expect("it packs");
    let mut resumed = set(dir.path(), &[(1, 21), (2, 22)]);
    assert_eq!(marks(dir.path(), 3), [10, 21, 22], "what is loose is newer");
    assert!(resumed.pack().expect("it packs"));
    assert_eq!(marks(dir.path(), 3), [10, 21, 22]);
}

/// A process that is killed leaves what lies between two steps.
#[test]
fn a_killed_pack_loses_nothing_and_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    set(dir.path(), &[(0, 10), (1, 11)]).pack().expect("it packs");
    let whole = fs::read(dir.path().join(ARCHIVE)).expect("it is there");
    // Before the archive had its name: half of it lies beside the loose files.
    let before = |dir: &Path| fs::write(dir.join(".unfinished-x"), &whole[..whole.len() / 2]);
    // Before the loose files were removed, and when one of them was.
    let after = |dir: &Path| fs::write(dir.join(ARCHIVE), &whole);
    let midway = |dir: &Path| after(dir).and_then(|()| fs::remove_file(dir.join("raw/a.0.json")));
    type Leave<'a> = &'a dyn Fn(&Path) -> io::Result<()>;
    let table: [(&str, Leave); 3] = [("before", &before), ("after", &after), ("midway", &midway)];
    for (when, leave) in table {
        let dir = tempfile::tempdir().expect("a folder");
        let mut result_set = set(dir.path(), &[(0, 10), (1, 11)]);
        fs::write(dir.path().join("raw/.unfinished-y"), "{").expect("it writes");
        leave(dir.path()).expect("it writes");
        assert_eq!(marks(dir.path(), 2), [10, 11], "killed {when}");
        assert!(result_set.pack().expect("it packs"));
        assert_eq!(fs::read(dir.path().join(ARCHIVE)).expect("it is there"), whole, "killed {when}");
        let left: Vec<_> = fs::read_dir(dir.path()).expect("it is there").collect();
        assert_eq!(left.len(), 1, "killed {when}: {left:?}");
    }
}

#[test]
fn what_cannot_be_packed_stays_loose() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut result_set = set(dir.path(), &[(0, 10)]);
    // A damaged archive is not written over.
    fs::write(dir.path().join(ARCHIVE), "x").expect("it writes");
    assert!(result_set.pack().is_err());
    assert_eq!(fs::read(dir.path().join(ARCHIVE)).expect("it is there"), b"x");
    assert!(dir.path().join("raw/a.0.json").exists());
    fs::remove_file(dir.path().join(ARCHIVE)).expect("it was there");
    // Nor does a folder that cannot be written to cost anything.
    let root = rustix::process::geteuid().is_root();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).expect("it is ours");
    let failed = result_set.pack();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    assert!(root || failed.is_err_and(|error| format!("{error:#}").contains("free some space")));
    assert_eq!(marks(dir.path(), 1), [10]);
}

#[test]
fn what_is_not_raw_data_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut result_set = set(dir.path(), &[(0, 10)]);
    fs::write(dir.path().join("raw/notes.txt"), "mine").expect("it writes");
    assert!(result_set.pack().expect("it packs"));
    assert!(dir.path().join("raw/notes.txt").exists() && !dir.path().join("raw/a.0.json").exists());
}
