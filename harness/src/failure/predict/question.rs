//! A question about a lab, and the form of its answer.

use anyhow::{Result, bail};

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Who gets which messages.
    Hears,
    /// What is lost with a killed receiver.
    Lost,
    /// One message in flight against many.
    Factor,
}

impl Topic {
    /// The number of the question: 1 to 3.
    pub(crate) const fn number(self) -> usize {
        match self {
            Self::Hears => 1,
            Self::Lost => 2,
            Self::Factor => 3,
        }
    }

    /// Its name in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hears => "hears",
            Self::Lost => "lost",
            Self::Factor => "factor",
        }
    }

    /// Its heading.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Hears => "Who will hear what?",
            Self::Lost => "What is lost?",
            Self::Factor => "By which factor?",
        }
    }
}

/// One question about one lab.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// What it is about.
    pub(crate) topic: Topic,
    /// The question.
    pub(crate) text: String,
    /// The form of the answer.
    pub(crate) form: Form,
    /// Why it cannot be answered over this lab, if it cannot.
    pub(crate) why_not: Option<&'static str>,
    /// The page to read, from the top of the project.
    pub(crate) page: String,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A number from 0 to `most`; it is right when it is off by `within` at most.
    Count { most: usize, within: usize },
    /// A factor; it is right when it is at most twice as large, and at least half as large.
    Factor,
}

impl Form {
    /// The form, for people.
    pub(crate) fn hint(self) -> String {
        match self {
            Self::Count { most, within: 0 } => format!("a number from 0 to {most}"),
            Self::Count { most, within } => {
                format!("a number from 0 to {most}; {within} more or less counts as right")
            }
            Self::Factor => "a factor, as in `x10`; up to twice or half as much counts as right".to_owned(),
        }
    }

    /// Reads an answer; `None` where it is empty.
    ///
    /// # Errors
    /// When it does not have this form; the error names the remedy.
    pub(crate) fn parse(self, text: &str) -> Result<Option<f64>> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let read = match self {
            Self::Count { most, .. } => {
                text.parse::<usize>().ok().filter(|count| *count <= most).map(|count| count as f64)
            }
            Self::Factor => {
                let digits = text.trim_start_matches(['x', 'X', '×']).trim_end_matches(['x', 'X', '×']);
                digits.trim().parse().ok().filter(|factor: &f64| factor.is_finite() && *factor > 0.0)
            }
        };
        if read.is_none() {
            let form = match self {
                Self::Count { most, .. } => format!("a number from 0 to {most}"),
                Self::Factor => "a factor above 0, as in `x10`".to_owned(),
            };
            bail!("`{text}` is not an answer; give {form}, or leave it empty for \"I don't know\"");
        }
        Ok(read)
    }

    /// Whether a prediction is right.
    pub(crate) fn is_right(self, predicted: f64, happened: f64) -> bool {
        match self {
            Self::Count { within, .. } => (predicted - happened).abs() <= within as f64,
            Self::Factor => predicted <= 2.0 * happened && happened <= 2.0 * predicted,
        }
    }

    /// An answer, as people read it.
    pub(crate) fn shown(self, answer: f64) -> String {
        match self {
            Self::Factor if answer < 10.0 => format!("x{answer:.1}"),
            Self::Factor => format!("x{answer:.0}"),
            Self::Count { .. } => format!("{answer:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: Form = Form::Count { most: 6, within: 0 };

    #[test]
    fn answers_are_read_in_their_form() {
        for (form, text, expected) in [
            (COUNT, "3", Some(3.0)),
            (COUNT, " 0 ", Some(0.0)),
            (Form::Factor, "x10", Some(10.0)),
            (Form::Factor, "2.5x", Some(2.5)),
            (Form::Factor, "×0.5", Some(0.5)),
            (Form::Factor, "", None),
            (COUNT, "  ", None),
        ] {
            assert_eq!(form.parse(text).ok(), Some(expected), "`{text}`");
        }
        for (form, text) in [
            (COUNT, "7"),
            (COUNT, "-1"),
            (COUNT, "x3"),
            (COUNT, "2.5"),
            (Form::Factor, "x0"),
            (Form::Factor, "inf"),
        ] {
            let error = form.parse(text).map_err(|error| error.to_string());
            assert!(error.is_err_and(|error| error.contains("; give a ")), "`{text}`");
        }
    }

    #[test]
    fn an_answer_is_right_within_its_limits() {
        let near = Form::Count { most: 12, within: 1 };
        for (form, predicted, happened, right) in [
            (COUNT, 3.0, 3.0, true),
            (COUNT, 3.0, 4.0, false),
            (near, 3.0, 4.0, true),
            (near, 3.0, 5.0, false),
            (Form::Factor, 10.0, 20.0, true),
            (Form::Factor, 10.0, 5.0, true),
            (Form::Factor, 10.0, 20.1, false),
            (Form::Factor, 10.0, 4.9, false),
        ] {
            assert_eq!(form.is_right(predicted, happened), right, "{predicted} for {happened}");
        }
    }
}
