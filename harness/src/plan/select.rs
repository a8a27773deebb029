//! Selects the labs of a plan by name.

use anyhow::{Result, bail};
use labs::catalog::Pattern;
use labs::topic::glob;

use crate::roles::Handle;

/// The labs that names, globs and patterns ask for, in catalog order; all of
/// them for no names at all.
pub fn select(handles: &[Handle], wanted: &[String]) -> Result<Vec<Handle>> {
    let mut chosen = vec![wanted.is_empty(); handles.len()];
    for want in wanted {
        let is_pattern = Pattern::ALL.iter().any(|pattern| pattern.as_str() == want);
        let mut found = false;
        for (handle, chosen) in handles.iter().zip(&mut chosen) {
            let hit = glob(want, &handle.entry.name) || (is_pattern && handle.entry.pattern.as_str() == want);
            *chosen |= hit;
            found |= hit;
        }
        if !found {
            return Err(unknown(handles, want));
        }
    }
    Ok(handles.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(handle, _)| handle.clone()).collect())
}

/// The lab of this name.
pub fn lab<'a>(handles: &'a [Handle], name: &str) -> Result<&'a Handle> {
    handles.iter().find(|handle| handle.entry.name == name).ok_or_else(|| unknown(handles, name))
}

/// Refuses labs that the catalog knows and this build does not have.
pub fn built_in(labs: &[&Handle]) -> Result<()> {
    let missing: Vec<&str> =
        labs.iter().filter(|lab| !lab.entry.built_in).map(|lab| lab.entry.name.as_str()).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let more = match missing.len() {
        1 => " is".to_owned(),
        count => format!(" and {} more labs are", count - 1),
    };
    bail!(
        "`{first}`{more} not in this build of `lab`, which has only some of the transports; start it with `./run`, \
         which builds what a command needs, or build it with `cargo build --release`"
    )
}

fn unknown(handles: &[Handle], name: &str) -> anyhow::Error {
    let names = handles.iter().map(|handle| handle.entry.name.as_str());
    let list = crate::hint::command(&["list"]);
    if name.contains(['*', '?', '[']) {
        return anyhow::anyhow!(
            "no lab matches `{name}`; `{list}` shows all (quote the glob, or the shell expands it)"
        );
    }
    if let Some((_, why)) = labs::catalog::ABSENT.iter().find(|(absent, _)| *absent == name) {
        return anyhow::anyhow!("the lab `{name}` was left out on purpose: {why}");
    }
    match nearest(name, names) {
        Some(near) => {
            anyhow::anyhow!("there is no lab `{name}`; did you mean `{near}`? `{list}` shows them all")
        }
        None => anyhow::anyhow!("there is no lab `{name}`; `{list}` shows them all"),
    }
}

/// The name most like this one, if any is like it at all.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{BUILT_IN, load};

    #[test]
    fn a_lab_that_this_build_lacks_is_refused_by_name() {
        let mut handles = crate::roles::handles();
        assert!(built_in(&handles.iter().filter(|lab| lab.entry.built_in).collect::<Vec<_>>()).is_ok());
        for (count, expected) in [(1, "`oneway-inproc` is not in this build"), (2, "and 1 more labs are not")]
        {
            handles[count - 1].entry.built_in = false;
            let lacking: Vec<&Handle> = handles.iter().collect();
            let error = built_in(&lacking[..count]).expect_err("refused").to_string();
            assert!(error.contains(expected) && error.contains("./run"), "{error}");
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_one() {
        assert_eq!(nearest("standart", BUILT_IN), Some("standard"));
        assert_eq!(nearest("zzz", BUILT_IN), None);
        assert!(load("standart").expect_err("unknown").to_string().contains("did you mean `standard`?"));
    }
}
