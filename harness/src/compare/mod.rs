//! Comparisons of measurements: two programs ([`regress`]), two runs of the same plan
//! ([`reproducibility`]), any two result sets ([`diff`]), and all result sets of one host over time ([`history`]).

pub mod diff;
pub mod history;
pub mod regress;
pub mod reproducibility;
