//! The file that is a Unix socket's address: in a folder that only this user
//! can enter, replaced when its owner was killed, gone when its owner leaves.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use tokio::net::{UnixListener, UnixStream};

use crate::lab::Place;
use crate::place::session_folder;

/// What the kernel keeps of a path (`sun_path` is 108 bytes, the last one zero).
const LONGEST: usize = 107;

/// The file of one socket that listens. Dropping it removes the file, and the
/// folder with the last one.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl SocketFile {
    /// A file that is new in the place's folder, and the socket bound to it.
    pub(crate) async fn new_in(place: &Place) -> Result<(UnixListener, Self)> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}.{}.{number}", place.role(), std::process::id());
        sweep(&folder(place)).await;
        Self::at(folder(place).join(name)).await
    }

    /// This very file. One that a killed process has left is replaced; one
    /// where somebody listens is not.
    pub(crate) async fn at(path: PathBuf) -> Result<(UnixListener, Self)> {
        let length = path.as_os_str().len();
        ensure!(
            length <= LONGEST,
            "the path of a socket can have {LONGEST} bytes, and {} has {length}; a shorter TMPDIR would do",
            path.display()
        );
        let mut tries = 0..3;
        let bound = loop {
            private_folder(path.parent().unwrap_or(Path::new("/")))?;
            match UnixListener::bind(&path) {
                // The folder went with its last file between the two steps.
                Err(error) if error.kind() == ErrorKind::NotFound && tries.next().is_some() => {}
                Err(error) if error.kind() == ErrorKind::AddrInUse && tries.next().is_some() => {
                    remove_stale(&path).await?;
                }
                bound => break bound,
            }
        };
        let listener = bound.with_context(|| format!("cannot listen on {}", path.display()))?;
        Ok((listener, Self(path)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What cannot be removed here, `remove` will complain about.
        let _ = fs::remove_file(&self.0);
        if let Some(folder) = self.0.parent().filter(|folder| is_ours(folder)) {
            // Not empty yet: another socket of the place is there.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Removes the place's folder with whatever killed processes have left in it.
pub(crate) fn remove_files(place: &Place) -> Result<()> {
    let folder = folder(place);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The folder's name begins like this; the user and a digest of the place's name follow.
const OURS: &str = "messaging-lab-";

fn is_ours(folder: &Path) -> bool {
    folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(OURS))
}

/// Where the sockets of a place are. The place's name would be too long for a path.
fn folder(place: &Place) -> PathBuf {
    let mut digest = DefaultHasher::new();
    place.name().hash(&mut digest);
    session_folder().join(format!("{OURS}{}-{:016x}", rustix::process::geteuid().as_raw(), digest.finish()))
}

/// Makes the folder, for this user only. One that is there already must be
/// this user's alone: in `/tmp` anybody could have made it.
fn private_folder(folder: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made.with_context(|| format!("cannot make the folder {}", folder.display())),
    }
    match fs::symlink_metadata(folder) {
        // Gone in the meantime, or a folder that a user has named: not ours to judge.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(_) if !is_ours(folder) => Ok(()),
        Ok(found) => {
            let private = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
            ensure!(private && found.mode() & 0o077 == 0, "{} is not this user's alone", folder.display());
            Ok(())
        }
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", folder.display())),
    }
}

/// Removes the files of processes that were killed: their number is in the
/// name. One of a process that is only about to listen must not be taken for dead.
async fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.rsplit('.').nth(1));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // What cannot be removed here, `remove` will complain about.
            let _ = remove_stale(&entry.path()).await;
        }
    }
}

/// A socket file outlives its process; where nobody listens, connections are refused.
async fn remove_stale(path: &Path) -> Result<()> {
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            let removed = fs::remove_file(path).or_else(ignore_missing);
            removed.with_context(|| format!("cannot replace {}", path.display()))
        }
        // Gone in the meantime, or taken: the next try will tell.
        _ => Ok(()),
    }
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place::new(&format!("file-{}-{name}", std::process::id()), None)
    }

    #[tokio::test]
    async fn the_folder_is_private_and_goes_with_its_last_socket() {
        let place = place("private");
        let [one, two] = [SocketFile::new_in(&place).await, SocketFile::new_in(&place).await];
        let (one, two) = (one.expect("a socket"), two.expect("another"));
        let mode = fs::metadata(folder(&place)).expect("the folder").mode();
        assert_eq!(mode & 0o777, 0o700);
        let path = one.1.path().to_owned();
        drop(one);
        assert!(!path.exists() && folder(&place).exists());
        drop(two);
        assert!(!folder(&place).exists());
    }

    #[tokio::test]
    async fn the_file_of_a_dead_socket_is_replaced_and_that_of_a_live_one_is_not() {
        let place = place("stale");
        let (listener, file) = SocketFile::new_in(&place).await.expect("a socket");
        let path = file.path().to_owned();
        let again = SocketFile::at(path.clone()).await.map(drop);
        assert!(again.expect_err("somebody listens there").to_string().contains("cannot listen on"));
        // As a killed process leaves it: the socket is closed and the file stays.
        std::mem::forget(file);
        drop(listener);
        let (_listener, file) = SocketFile::at(path).await.expect("nobody listens there");
        UnixStream::connect(file.path()).await.expect("the new one listens");
    }

    #[tokio::test]
    async fn removing_takes_what_was_left_and_misses_nothing() {
        let place = place("remove");
        remove_files(&place).expect("nothing is there");
        let (_listener, file) = SocketFile::new_in(&place).await.expect("a socket");
        std::mem::forget(file);
        remove_files(&place).expect("a file is there");
        assert!(!folder(&place).exists());
    }

    #[tokio::test]
    async fn whoever_comes_next_removes_what_the_dead_have_left() {
        let place = place("sweep");
        let (_listener, alive) = SocketFile::new_in(&place).await.expect("a socket");
        // No process can have this number.
        let dead = folder(&place).join("receiver-0.4194305.0");
        let (listener, file) = SocketFile::at(dead.clone()).await.expect("another");
        std::mem::forget(file);
        drop(listener);
        let (_listener, _next) = SocketFile::new_in(&place).await.expect("a third");
        assert!(!dead.exists() && alive.path().exists());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_refused_by_name() {
        let error = SocketFile::at(format!("/{}", "x".repeat(107)).into()).await.map(drop);
        assert!(error.expect_err("108 bytes").to_string().contains("can have 107 bytes"));
    }

    #[tokio::test]
    async fn a_folder_that_others_can_enter_is_refused() {
        let place = place("open");
        DirBuilder::new().mode(0o755).create(folder(&place)).expect("a folder");
        let error = SocketFile::new_in(&place).await.map(drop);
        assert!(error.expect_err("others can enter").to_string().contains("is not this user's alone"));
        fs::remove_dir(folder(&place)).expect("it is empty");
    }
}
