//! How points are given, from the options.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use crate::command::Usage;
use crate::course::exercise::Exercise;
use crate::course::grade::mark::Scheme;

/// Checks the options against the exercises.
pub(super) fn scheme(
    points: f64,
    weight: &[String],
    hidden: &[String],
    exercises: &[&Exercise],
) -> Result<Scheme> {
    if !(points.is_finite() && points > 0.0 && points <= 1e6) {
        bail!(Usage(format!("`--points {points}`: give a number above 0")));
    }
    let checks: BTreeSet<&str> =
        exercises.iter().flat_map(|exercise| exercise.checks.iter().map(|(name, _)| *name)).collect();
    let known = |name: &str| -> Result<String> {
        if checks.contains(name) {
            return Ok(name.to_owned());
        }
        let near = crate::plan::nearest(name, checks.iter().copied());
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let all: Vec<&str> = checks.iter().copied().collect();
        bail!(Usage(format!("there is no check `{name}`; {near}the checks are {}", all.join(", "))))
    };
    let mut weights = BTreeMap::new();
    for one in weight {
        let parsed = one.split_once('=').and_then(|(name, number)| Some((name, number.parse::<f64>().ok()?)));
        let Some((name, number)) =
            parsed.filter(|(_, number)| number.is_finite() && (0.0..=1e3).contains(number))
        else {
            bail!(Usage(format!("`--weight {one}`: give a check and a number, as in `in-order=2`")));
        };
        weights.insert(known(name)?, number);
    }
    for exercise in exercises {
        let sum: f64 =
            exercise.checks.iter().map(|(name, _)| weights.get(*name).copied().unwrap_or(1.0)).sum();
        if sum <= 0.0 {
            bail!(Usage(format!("all checks of {} have the weight 0", exercise.name)));
        }
    }
    let hidden = hidden.iter().map(|name| known(name)).collect::<Result<_>>()?;
    Ok(Scheme { points, weights, hidden })
}
