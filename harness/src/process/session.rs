//! The folders of a session: whatever it keeps for a while is in one of them, and they go
//! with it. The next start removes those of sessions that were killed as a whole.
//!
//! | where | what |
//! | --- | --- |
//! | `lab-…` in the temporary folder | sockets, data of brokers |
//! | `messaging-lab-lab-…` in `/dev/shm` | accounts of a trial |
//! | `messaging-lab/lab-…` with the user's state | logs of `queue-tcp`, on a disk |
//!
//! A session is alive while one of its processes holds a lock in its first folder. The kernel
//! gives the lock back, however the process ends. The other folders have a link to the first.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use crate::process;

/// The RAM disk, where accounts are kept.
pub(super) const SHARED: &str = "/dev/shm";
/// How the name of a session begins.
const PREFIX: &str = "lab-";
/// What begins the names of its folders in [`SHARED`].
const OURS: &str = "messaging-lab-";
/// The file that is locked, and the link to the folder that it is in.
const OWNER: &str = ".owner";
const SESSION: &str = ".session";

/// Makes a new session's folder.
pub(super) fn new() -> Result<(tempfile::TempDir, Alive)> {
    let temp = std::env::temp_dir();
    let made = || -> io::Result<_> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&temp)?;
        let alive = Alive::begin(dir.path())?;
        Ok((dir, alive))
    };
    made().with_context(|| {
        format!("cannot make a folder in {}; set TMPDIR to a folder you may write to", temp.display())
    })
}

/// Shows that a session is alive, until it is dropped or the process ends.
pub(super) struct Alive {
    _lock: File,
}

impl Alive {
    fn begin(session: &Path) -> io::Result<Self> {
        // It gets its name when it is locked: others never see it without.
        let new = session.join(format!("{OWNER}-new"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        match file.try_lock_shared() {
            Ok(()) => fs::rename(&new, session.join(OWNER))?,
            // This file system has no locks: nobody will remove the folder but its owner.
            Err(_) => fs::remove_file(&new)?,
        }
        Ok(Self { _lock: file })
    }

    /// For one more process of the session; `None` where it has no lock.
    pub(super) fn join(session: &Path) -> Option<Self> {
        let file = open(&session.join(OWNER)).ok()?;
        file.try_lock_shared().ok()?;
        Some(Self { _lock: file })
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// How the names of a session's folders in [`SHARED`] begin.
pub(super) fn shared_prefix(session: &Path) -> String {
    let name = session.file_name().unwrap_or_default().to_string_lossy();
    format!("{OURS}{name}-")
}

/// Links one more folder to its session.
pub(super) fn link(folder: &Path, session: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(session, folder.join(SESSION))
}

/// Makes the session's folder for what should be on a disk; without one, it is in the
/// temporary folder.
pub(super) fn state(session: &Path) -> PathBuf {
    let make = || -> Option<PathBuf> {
        let folder = states()?.join(session.file_name()?);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
        link(&folder, session).ok()?;
        Some(folder)
    };
    make().unwrap_or_else(|| session.join("state"))
}

fn states() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    Some(state?.join("messaging-lab"))
}

/// Removes everything temporary of a session, and of those that were started in
/// its folder and killed with it. Its first folder goes last: the others are found by it.
pub(super) fn clear(session: &Path) {
    for entry in entries(session).filter(|entry| name(entry).starts_with(PREFIX)) {
        if is_own_folder(&entry) {
            clear(&entry);
        }
    }
    let prefix = shared_prefix(session);
    for entry in entries(Path::new(SHARED)).filter(|entry| name(entry).starts_with(&prefix)) {
        let _ = fs::remove_dir_all(entry);
    }
    if let (Some(states), Some(name)) = (states(), session.file_name()) {
        let _ = fs::remove_dir_all(states.join(name));
    }
    for entry in entries(session).filter(|entry| name(entry) != OWNER) {
        let _ = fs::remove_dir_all(&entry).or_else(|_| fs::remove_file(&entry));
    }
    let _ = fs::remove_dir_all(session);
}

/// Removes what killed sessions of this user have left: their processes and their folders.
/// A session that lives is left alone, and so is a folder that may be another program's.
pub(super) fn sweep() {
    for session in entries(&std::env::temp_dir()).filter(|entry| name(entry).starts_with(PREFIX)) {
        if let Some(_lock) = is_own_folder(&session).then(|| ended(&session)).flatten() {
            for pid in processes(&session) {
                process::signal(pid, Signal::KILL);
            }
            clear(&session);
        }
    }
    // Folders whose session's first folder is elsewhere, or has gone.
    let shared = entries(Path::new(SHARED)).filter(|entry| name(entry).starts_with(OURS));
    let states = states().into_iter().flat_map(|states| entries(&states).collect::<Vec<_>>());
    for folder in shared.chain(states).filter(|folder| is_own_folder(folder)) {
        let Ok(session) = fs::read_link(folder.join(SESSION)) else { continue };
        let gone = matches!(session.try_exists(), Ok(false));
        let _lock = ended(&session);
        if gone || _lock.is_some() {
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

/// The lock of a session that nobody holds any more. As long as it is kept, nobody else
/// takes the session for ended.
fn ended(session: &Path) -> Option<File> {
    let file = open(&session.join(OWNER)).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// The processes of a session: their environment names its folder.
fn processes(session: &Path) -> Vec<u32> {
    let Some(folder) = session.to_str() else { return Vec::new() };
    let own = rustix::process::geteuid().as_raw();
    let all = procfs::process::all_processes().into_iter().flatten().flatten();
    let belongs = |process: &procfs::process::Process| {
        process.uid().is_ok_and(|uid| uid == own)
            && process.environ().is_ok_and(|environ| {
                // A shell in which somebody looks at the folder is not of the session.
                let elsewhere = |name: &str| !["PWD", "OLDPWD", "_"].contains(&name);
                environ.iter().any(|(name, value)| {
                    elsewhere(&name.to_string_lossy()) && names(&value.to_string_lossy(), folder)
                })
            })
    };
    all.filter(belongs).map(|process| process.pid as u32).filter(|&pid| pid != std::process::id()).collect()
}

/// Whether a text has this path, or a path below it, as a whole word.
fn names(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let next = text[at + path.len()..].chars().next();
        next.is_none_or(|next| !next.is_ascii_alphanumeric() && !"-_.".contains(next))
    })
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A folder of this user, and not a link to one.
fn is_own_folder(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_ended_when_nobody_holds_its_lock() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Alive::begin(dir.path()).expect("a lock");
        assert!(ended(dir.path()).is_none(), "its owner lives");
        let second = Alive::join(dir.path()).expect("a lock");
        drop(first);
        assert!(ended(dir.path()).is_none(), "another of its processes lives");
        drop(second);
        assert!(ended(dir.path()).is_some());
    }

    #[test]
    fn a_folder_without_a_lock_is_not_taken_for_an_ended_session() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(ended(dir.path()).is_none());
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(OWNER)).expect("a link");
        assert!(ended(dir.path()).is_none(), "a link was followed");
    }

    #[test]
    fn a_path_is_named_as_a_whole_word_only() {
        let cases = [
            ("worker:17::/tmp/lab-abc", true),
            ("/tmp/lab-abc/rabbit", true),
            ("a=/tmp/lab-abc:b", true),
            ("/tmp/lab-abcd", false),
            ("/tmp/lab-abc.old", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(names(text, "/tmp/lab-abc"), expected, "{text}");
        }
    }
}
