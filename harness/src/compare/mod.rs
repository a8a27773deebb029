//! Comparisons of measurements: two programs ([`regress`]), two runs of the same plan
//! ([`reproducibility`]), and all result sets of one host over time ([`history`]).

pub mod history;
pub mod regress;
pub mod reproducibility;
