use std::fs;

use super::*;

const LARGE: u64 = 1 << 20;

/// An archive of two files, as it is written.
fn good() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for name in ["a.0.json", "b.0.json"] {
        writer.add(name, format!("{{\"is\": \"{name}\"}}").as_bytes()).expect("memory");
    }
    writer.finish().expect("memory")
}

/// An archive of these entries, as somebody else may make one. `SUMS` lists the others.
fn made(entries: &[(&str, &[u8])], listed: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8], kind: EntryType| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Written as it is: `append_data` would refuse what a hostile program does not.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        if kind == EntryType::Symlink {
            header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
        }
        header.set_cksum();
        tar.append(&header, content).expect("memory");
    };
    for (name, content) in entries {
        let link = name.ends_with("link.gz");
        add(name, content, if link { EntryType::Symlink } else { EntryType::Regular });
    }
    let sums: String = listed.iter().map(|(sum, name)| format!("{sum}  {name}\n")).collect();
    add("raw/SHA256SUMS", sums.as_bytes(), EntryType::Regular);
    tar.into_inner().expect("memory")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(content).expect("memory");
    packed.finish().expect("memory")
}

/// What comes of reading `a.0.json` out of this archive.
fn read(archive: &[u8]) -> Result<Option<Vec<u8>>> {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join(ARCHIVE), archive).expect("a file");
    Archive::open(dir.path())?.expect("it is there").read("a.0.json", LARGE)
}

#[test]
fn what_is_written_is_read() {
    let content = read(&good()).expect("it is whole").expect("it is in it");
    assert_eq!(content, b"{\"is\": \"a.0.json\"}");
    assert_eq!(good(), good(), "the same files give the same archive");
    assert!(Archive::open(Path::new("/nowhere")).expect("it is not there").is_none());
}

#[test]
fn long_names_are_kept() {
    let name = format!("{}.json", "long".repeat(50));
    let mut writer = Writer::new(Vec::new());
    writer.add(&name, &b"{}"[..]).expect("memory");
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join(ARCHIVE), writer.finish().expect("memory")).expect("a file");
    let archive = Archive::open(dir.path()).expect("it is whole").expect("it is there");
    assert_eq!(archive.names().collect::<Vec<_>>(), [name.as_str()]);
    assert_eq!(archive.read(&name, LARGE).expect("it is whole").as_deref(), Some(&b"{}"[..]));
}

/// Every way in which an archive can be bad costs an error that says which.
#[test]
fn bad_archives_are_refused() {
    let good = good();
    let packed = gzip(b"{}");
    let right = sum(&packed);
    let wrong = "0".repeat(64);
    let one = |name: &str| made(&[(name, &packed)], &[(&right, "a.0.json.gz")]);
    let bomb = gzip(&vec![0; LARGE as usize + 1]);
    let bomb_sum = sum(&bomb);
    let mut flipped = good.clone();
    flipped[520] ^= 1;
    let table: [(&str, Vec<u8>, &[&str]); 15] = [
        ("empty", Vec::new(), &["no raw/SHA256SUMS", "copy it back"]),
        ("cut between entries", good[..1024].to_vec(), &["no raw/SHA256SUMS", "cut short"]),
        ("cut within an entry", good[..540].to_vec(), &["cut short", "within raw/a.0.json.gz"]),
        ("cut within a header", good[..200].to_vec(), &["damaged"]),
        ("another format", vec![b'x'; 4096], &["damaged"]),
        ("a byte changed", flipped, &["raw/a.0.json.gz", "SHA-256", "raw.tar"]),
        (
            "wrong sum",
            made(&[("raw/a.0.json.gz", &packed)], &[(&wrong, "a.0.json.gz")]),
            &["raw/a.0.json.gz", "SHA-256", "00000000"],
        ),
        ("missing entry", made(&[], &[(&right, "a.0.json.gz")]), &["raw/a.0.json.gz is missing"]),
        ("unlisted entry", made(&[("raw/a.0.json.gz", &packed)], &[]), &["raw/a.0.json.gz is not listed"]),
        ("entry above", one("raw/../a.0.json.gz"), &["\"raw/../a.0.json.gz\" is not a file of raw/"]),
        ("absolute entry", one("/raw/a.0.json.gz"), &["\"/raw/a.0.json.gz\" is not a file of raw/"]),
        ("link", one("raw/link.gz"), &["\"raw/link.gz\" is not a file of raw/"]),
        (
            "entry twice",
            made(&[("raw/a.0.json.gz", &packed), ("raw/a.0.json.gz", &packed)], &[(&right, "a.0.json.gz")]),
            &["raw/a.0.json.gz twice"],
        ),
        (
            "bomb",
            made(&[("raw/a.0.json.gz", &bomb)], &[(&bomb_sum, "a.0.json.gz")]),
            &["raw/a.0.json.gz", "more than 1048576 bytes"],
        ),
        (
            "no gzip inside",
            made(&[("raw/a.0.json.gz", b"{}")], &[(&sum(b"{}"), "a.0.json.gz")]),
            &["the entry raw/a.0.json.gz", "damaged"],
        ),
    ];
    for (what, archive, words) in table {
        let error = read(&archive).expect_err(what);
        let told = format!("{error:#}");
        for word in words {
            assert!(told.contains(word), "{what}: `{word}` is not in: {told}");
        }
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a\nb", &"x".repeat(300)] {
        assert!(!is_plain(name), "{name:?}");
        assert!(Writer::new(Vec::new()).add(name, &b""[..]).is_err(), "{name:?}");
    }
    assert!(is_plain("oneway-tcp.64B.1x1.batch-16.1000ps-burst-100.0.json"));
}

/// The sums of the headers are mended, so that what is behind them is read.
#[test]
fn fuzz_archives() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let seeds = [good(), made(&[("raw/a.0.json.gz", &gzip(b"{}"))], &[("0", "a.0.json.gz")])];
    fuzz::Target::new("archives").seeds(seeds).memory(1 << 20).run(|input| {
        let mut tar = input.to_vec();
        for block in tar.chunks_exact_mut(512).filter(|block| block.starts_with(b"raw/")) {
            let header = Header::from_byte_slice(block).clone();
            let mut header = header;
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        fs::write(dir.path().join(ARCHIVE), &tar).expect("a file");
        let Ok(Some(archive)) = Archive::open(dir.path()) else { return false };
        for name in archive.names() {
            assert!(is_plain(name), "{name:?}");
            if let Ok(Some(content)) = archive.read(name, 1 << 10) {
                assert!(content.len() <= 1 << 10);
            }
        }
        true
    });
}
