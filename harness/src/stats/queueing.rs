//! Predictions of queueing theory for latency against load.

/// Squared coefficient of variation: 0 for a constant, 1 for an exponential
/// distribution. `None` without a positive mean.
pub fn scv(mean: f64, deviation: f64) -> Option<f64> {
    (mean > 0.0).then(|| (deviation / mean).powi(2))
}

/// Mean time in the queue before one server, in service times, by Kingman's
/// approximation for general arrivals and service (J. F. C. Kingman, *The
/// single server queue in heavy traffic*, 1961):
///
/// `utilization / (1 - utilization) x (arrivals_scv + service_scv) / 2`
///
/// It is exact for Poisson arrivals (Pollaczek and Khinchine). `None` at a
/// utilization of 1 and above, where a queue has no mean.
pub fn waiting(utilization: f64, arrivals_scv: f64, service_scv: f64) -> Option<f64> {
    (0.0..1.0)
        .contains(&utilization)
        .then(|| utilization / (1.0 - utilization) * (arrivals_scv + service_scv) / 2.0)
}

/// The load at which load divided by mean response time is largest: beyond it,
/// a message waits for longer than the load has grown (L. Kleinrock, *Power and
/// deterministic rules of thumb for probabilistic problems in computer
/// communications*, 1979). Points are load and mean response; `None` for fewer
/// than two.
pub fn knee(points: &[(f64, f64)]) -> Option<f64> {
    let power = |(load, mean): (f64, f64)| load / mean;
    let usable = points.iter().filter(|(load, mean)| *load > 0.0 && *mean > 0.0);
    (points.len() > 1)
        .then(|| usable.copied().max_by(|a, b| power(*a).total_cmp(&power(*b))))?
        .map(|(load, _)| load)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_waits_as_the_books_say() {
        // M/M/1 at 0.9 waits for 9 services, M/D/1 for half of that, D/D/1 not at all.
        let check = |arrivals, service, expected: f64| {
            assert!((waiting(0.9, arrivals, service).expect("below 1") - expected).abs() < 1e-9);
        };
        check(1.0, 1.0, 9.0);
        check(1.0, 0.0, 4.5);
        check(0.0, 0.0, 0.0);
        assert_eq!(waiting(1.0, 1.0, 1.0), None);
        assert_eq!(waiting(f64::NAN, 1.0, 1.0), None);
    }

    #[test]
    fn the_knee_of_one_server_lies_at_half_its_load() {
        // Mean response of M/M/1 is 1 / (1 - load); power is load x (1 - load).
        let points: Vec<(f64, f64)> =
            (1..10).map(|tenth| f64::from(tenth) / 10.0).map(|load| (load, 1.0 / (1.0 - load))).collect();
        assert_eq!(knee(&points), Some(0.5));
        assert_eq!(knee(&points[..1]), None);
        assert_eq!(scv(2.0, 2.0), Some(1.0));
        assert_eq!(scv(0.0, 1.0), None);
    }
}
