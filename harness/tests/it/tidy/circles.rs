//! No circles: the modules of a crate can be read one after the other, each after
//! those that it uses.
//!
//! A module is a file. It uses another one where a `use` or a path in its code
//! (`crate::…`, `super::…`, or through a child that it declares) leads there; the
//! module is the longest known beginning of that path. A parent that declares its
//! children and re-exports from them (`mod`, `pub use child::…`) does not use them by
//! that, so a child may use what its parent has: but not when the parent calls the
//! child. Tests do not count.
//!
//! In the harness the same holds for the folders at the top: all that is in one of them
//! counts as one module. In `labs` folders may use each other, since a pattern's contract
//! and its labs share a folder: labs use the folder `wire`, and `wire` uses contracts.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use super::{code, files, is_test};

/// A module, as its path from the crate's root: `["measure", "clock"]`.
type Module = Vec<String>;
type Uses = BTreeMap<Module, BTreeSet<Module>>;

pub(super) fn none() -> Result<()> {
    let harness = uses_in("harness/src/")?;
    let labs = uses_in("labs/src/")?;
    for (what, uses) in [
        ("modules of the harness", &harness),
        ("folders of the harness", &folders(&harness)),
        ("modules of the labs", &labs),
    ] {
        let found = circle(uses);
        ensure!(found.is_none(), "{what} import each other in a circle: {}", shown(found));
    }
    Ok(())
}

/// Which modules each module of a crate uses.
fn uses_in(source: &str) -> Result<Uses> {
    let sources = files(source, "rs")?.into_iter().filter(|(name, _)| !is_test(name));
    let named = sources.map(|(name, text)| (module(&name[source.len()..]), code(&text)));
    let uses = uses(&named.collect());
    ensure!(uses.values().flatten().count() > 500, "the test no longer sees the imports of {source}");
    Ok(uses)
}

pub(super) fn are_found() -> Result<()> {
    let check = |sources: &[(&str, &str)], expected: Option<&str>| {
        let sources = sources.iter().map(|(name, text)| (module(name), code(text))).collect();
        let found = circle(&uses(&sources)).map(|found| shown(Some(found)));
        ensure!(found.as_deref() == expected, "found {found:?} instead of {expected:?} in {sources:?}");
        Ok(())
    };
    check(&[("a.rs", "use crate::b::B;"), ("b.rs", "pub struct B;")], None)?;
    check(
        &[
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::{c::C, d};"),
            ("c.rs", "fn f() { super::a::f() }"),
        ],
        Some("a → b → c → a"),
    )?;
    // A parent may declare and re-export, and its children may use what it has …
    check(
        &[("a/mod.rs", "mod b;\npub use b::{B, C as D};\npub struct A;"), ("a/b.rs", "use super::A;")],
        None,
    )?;
    // … unless it calls them.
    check(&[("a/mod.rs", "mod b;\nfn f() { b::f() }"), ("a/b.rs", "use super::A;")], Some("a → a::b → a"))?;
    check(&[("a/mod.rs", "mod b;\nuse b::B;"), ("a/b.rs", "use crate::a::A;")], Some("a → a::b → a"))?;
    check(
        &[("a/mod.rs", "mod b;\nfn f() { for x in b::f() {} }"), ("a/b.rs", "use super::A;")],
        Some("a → a::b → a"),
    )?;
    // A visibility is not a use.
    check(&[("a.rs", "use crate::b::B;"), ("b.rs", "pub(in crate::a) struct B;")], None)?;
    // Comments and tests do not count.
    check(
        &[("a.rs", "use crate::b;"), ("b.rs", "// crate::a\n#[cfg(test)]\nmod tests {\nuse crate::a;")],
        None,
    )?;
    // Folders may be in a circle although their files are not.
    let two = [
        ("a/x.rs", "use crate::b::x::X;"),
        ("b/x.rs", ""),
        ("b/y.rs", "use crate::a::y::Y;"),
        ("a/y.rs", ""),
    ];
    check(&two, None)?;
    let sources = two.iter().map(|(name, text)| (module(name), (*text).to_owned())).collect();
    ensure!(shown(circle(&folders(&uses(&sources)))) == "a → b → a", "a circle of folders is not seen");
    Ok(())
}

/// The module that is in the file of this name, below a crate's `src`.
fn module(file: &str) -> Module {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let root = ["lib", "main"].contains(&path);
    if root { Module::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// Which modules each module uses.
fn uses(sources: &BTreeMap<Module, String>) -> Uses {
    let of = |(module, code): (&Module, &String)| {
        let mut found: BTreeSet<Module> =
            paths(code, module, sources).iter().map(|path| longest(path, sources)).collect();
        found.remove(module);
        (module.clone(), found)
    };
    sources.iter().map(of).collect()
}

/// The longest beginning of a path that is a module.
fn longest(path: &[String], sources: &BTreeMap<Module, String>) -> Module {
    let known = (0..=path.len()).rev().find(|length| sources.contains_key(&path[..*length]));
    path[..known.unwrap_or(0)].to_vec()
}

/// Every path in a module's code that leads into its crate, from the root.
fn paths(code: &str, module: &Module, sources: &BTreeMap<Module, String>) -> Vec<Vec<String>> {
    let is_child = |name: &str| sources.contains_key(&[module.as_slice(), &[name.to_owned()]].concat());
    let mut found = Vec::new();
    let (mut rest, mut last) = (code, "");
    while let Some(at) = rest.find(|c: char| c.is_alphabetic() || c == '_') {
        let before = &rest[..at];
        let qualified = before.ends_with("::") || before.ends_with('.') || before.ends_with('$');
        rest = &rest[at..];
        let word = word(rest);
        // `pub use` and `pub(crate) use` re-export.
        let exports = last == "pub" || (before.trim() == ")" && ["crate", "super"].contains(&last));
        // In a text, `use` stands within a line.
        if word == "use" && (exports || before.is_empty() || before.contains('\n')) {
            let tree = rest[word.len()..].split(';').next().unwrap_or_default();
            let mut all = Vec::new();
            branches(tree, &[], &mut all);
            found.extend(
                all.into_iter()
                    .filter(|path| !(exports && path.first().is_some_and(|first| is_child(first)))),
            );
            (rest, last) = (&rest[word.len() + tree.len()..], "");
            continue;
        }
        let path: Vec<String> = segments(rest);
        rest = &rest[word.len()..];
        // `pub(in crate::…)` is not a use.
        if !qualified && path.len() > 1 && last != "(in" {
            found.push(path);
        }
        last = if word == "in" && before.ends_with('(') { "(in" } else { word };
    }
    let absolute = |path: Vec<String>| {
        let first = path.first().map(String::as_str);
        match first {
            Some("crate") => Some(path[1..].to_vec()),
            Some("self") => Some([module.as_slice(), &path[1..]].concat()),
            Some("super") => {
                let up = path.iter().take_while(|segment| *segment == "super").count();
                let base = module.get(..module.len().saturating_sub(up)).unwrap_or_default();
                Some([base, &path[up..]].concat())
            }
            Some(first) if is_child(first) => Some([module.as_slice(), &path].concat()),
            _ => None,
        }
    };
    found.into_iter().filter_map(absolute).collect()
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// `a::b::c`, at the beginning of a text.
fn segments(text: &str) -> Vec<String> {
    let mut found = vec![word(text).to_owned()];
    let mut rest = &text[found[0].len()..];
    while let Some(next) = rest.strip_prefix("::").filter(|next| !word(next).is_empty()) {
        found.push(word(next).to_owned());
        rest = &next[word(next).len()..];
    }
    found
}

/// The paths of a `use`, one for each name in its braces.
fn branches(tree: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let Some((path, list)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        let own = path.split("::").map(|segment| segment.trim().to_owned());
        let mut all: Vec<String> = before.iter().cloned().chain(own).collect();
        if all.len() > 1 && all.last().is_some_and(|last| last == "self") {
            all.pop();
        }
        found.push(all);
        return;
    };
    let path =
        path.split("::").map(|segment| segment.trim().to_owned()).filter(|segment| !segment.is_empty());
    let before: Vec<String> = before.iter().cloned().chain(path).collect();
    let (mut depth, mut start) = (0, 0);
    for (at, char) in list.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                if !list[start..at].trim().is_empty() {
                    branches(&list[start..at], &before, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// What the folders and files at the top use of each other. The root does not count.
fn folders(uses: &Uses) -> Uses {
    let top = |module: &Module| module.get(..1).map(<[String]>::to_vec);
    let mut all = Uses::new();
    for (module, used) in uses {
        let Some(own) = top(module) else { continue };
        let others = used.iter().filter_map(top).filter(|other| *other != own);
        all.entry(own.clone()).or_default().extend(others);
    }
    all
}

/// A circle, with its first module once more at the end.
fn circle(uses: &Uses) -> Option<Vec<Module>> {
    fn visit(
        module: &Module,
        uses: &Uses,
        path: &mut Vec<Module>,
        done: &mut BTreeSet<Module>,
    ) -> Option<Vec<Module>> {
        if let Some(at) = path.iter().position(|earlier| earlier == module) {
            return Some([&path[at..], std::slice::from_ref(module)].concat());
        }
        if !done.contains(module) {
            path.push(module.clone());
            let next = uses.get(module).into_iter().flatten();
            let found = next.into_iter().find_map(|next| visit(next, uses, path, done));
            path.pop();
            done.insert(module.clone());
            return found;
        }
        None
    }
    let mut done = BTreeSet::new();
    uses.keys().find_map(|module| visit(module, uses, &mut Vec::new(), &mut done))
}

fn shown(circle: Option<Vec<Module>>) -> String {
    let name = |module: &Module| if module.is_empty() { "the root".to_owned() } else { module.join("::") };
    circle.iter().flatten().map(name).collect::<Vec<_>>().join(" → ")
}
