//! Result sets below a folder.

use std::io;
use std::path::{Path, PathBuf};

/// How many levels below a folder result sets are searched: `results/MACHINE/SET` and two more.
const DEPTH: usize = 4;

/// The folders that have one of these files, at most four levels below `dir`, or `dir` itself, in
/// the order of their paths. What is in a result set is not searched, and neither is what `keep`
/// refuses nor what a link leads to.
///
/// # Errors
/// When a folder cannot be read.
pub fn find(dir: &Path, files: &[&str], keep: impl Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![(dir.to_owned(), DEPTH)];
    while let Some((folder, depth)) = folders.pop() {
        if files.iter().any(|file| folder.join(file).is_file()) {
            found.push(folder);
            continue;
        }
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if depth > 0 && path.is_dir() && !path.is_symlink() && keep(&path) {
                folders.push((path, depth - 1));
            }
        }
    }
    found.sort();
    Ok(found)
}
