//! Prints one result, as a table for people or as JSON for scripts.

use comfy_table::{Table, TableStyle};
use labs::apps::answer::Answer;
use labs::apps::gather::Gathered;
use serde_json::{Value, json};

use super::seen::Gone;

/// The fields of a worker's status; it may leave out any of them.
const FIELDS: [&str; 4] = ["pid", "jobs_done", "queue", "uptime_s"];

pub(super) fn as_json(gathered: &Gathered, gone: &[Gone], deadline_ms: u64) -> Value {
    let gone = gone.iter().map(|gone| json!({ "name": gone.name, "last_seen_s": gone.last_seen_s }));
    let known = gathered.known.iter().map(|(name, answer)| worker(name, answer.as_ref(), true));
    let strangers = gathered.strangers.iter().map(|(name, answer)| worker(name, Some(answer), false));
    json!({
        "known": gathered.known.len(),
        "answered": gathered.answered(),
        "complete": gathered.is_complete(),
        "missing": gathered.missing().collect::<Vec<_>>(),
        "strangers": gathered.strangers.len(),
        "late": gathered.late,
        "garbage": gathered.garbage,
        "deadline_ms": deadline_ms,
        "workers": known.chain(strangers).collect::<Vec<_>>(),
        "gone": gone.collect::<Vec<_>>(),
    })
}

/// One worker's row. Of its answer, only numbers of known fields are passed on.
fn worker(name: &str, answer: Option<&Answer>, known: bool) -> Value {
    let mut row = json!({ "name": name, "known": known });
    match answer {
        None => row["answer"] = "none".into(),
        Some(Err(error)) => {
            row["answer"] = "error".into();
            row["error"] = error.as_str().into();
        }
        Some(Ok(text)) => {
            row["answer"] = "ok".into();
            let said: Value = serde_json::from_str(text).unwrap_or_default();
            for field in FIELDS {
                if let Some(number) = said[field].as_u64() {
                    row[field] = number.into();
                }
            }
        }
    }
    row
}

pub(super) fn as_text(gathered: &Gathered, gone: &[Gone], deadline_ms: u64) -> String {
    let all = as_json(gathered, gone, deadline_ms);
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_header(["worker", "answer", "process", "jobs done", "queue length", "up for"]);
    for row in all["workers"].as_array().into_iter().flatten() {
        let number = |field: &str| row[field].as_u64().map_or("–".to_owned(), |number| number.to_string());
        let answer = match (row["answer"].as_str(), row["known"].as_bool()) {
            (Some("ok"), Some(true)) => "yes".to_owned(),
            (Some("ok"), _) => "yes, though not known".to_owned(),
            // Escaped, because a terminal would obey control sequences.
            (Some("error"), _) => {
                format!("error: {}", row["error"].as_str().unwrap_or_default().escape_debug())
            }
            _ => "none in time".to_owned(),
        };
        let up = row["uptime_s"].as_u64().map_or("–".to_owned(), |seconds| format!("{seconds} s"));
        let name = row["name"].as_str().unwrap_or_default().to_owned();
        table.add_row([name, answer, number("pid"), number("jobs_done"), number("queue"), up]);
    }
    for gone in gone {
        let last = format!("last seen {} s ago", gone.last_seen_s);
        table.add_row([&gone.name, last.as_str(), "–", "–", "–", "–"]);
    }
    format!("{table}\n{}\n", summary(gathered, deadline_ms))
}

fn summary(gathered: &Gathered, deadline_ms: u64) -> String {
    let known = gathered.known.len();
    let mut text = match known {
        0 => "no worker has announced itself".to_owned(),
        _ => format!("{} of {known} known workers answered within {deadline_ms} ms", gathered.answered()),
    };
    text.push_str(if gathered.is_complete() { ": complete" } else { ": incomplete" });
    let missing: Vec<&str> = gathered.missing().collect();
    if !missing.is_empty() {
        text.push_str(&format!(", no answer from {}", missing.join(", ")));
    }
    if gathered.late + gathered.garbage > 0 {
        text.push_str(&format!(
            "\ndropped so far: {} late answers, {} messages that are not answers",
            gathered.late, gathered.garbage
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_complete_it_is_and_passes_on_numbers_only() {
        let said = r#"{"pid":7,"jobs_done":3,"queue":"<b>","evil":1}"#.to_owned();
        let known = [
            ("a".to_owned(), Some(Ok(said))),
            ("b".to_owned(), None),
            ("c".to_owned(), Some(Err("\u{1b}[31mno".to_owned()))),
        ];
        let strangers = [("d".to_owned(), Ok("no JSON".to_owned()))];
        let gathered = Gathered { known: known.into(), strangers: strangers.into(), late: 2, garbage: 0 };
        let gone = [Gone { name: "e".to_owned(), last_seen_s: 7 }];
        let json = as_json(&gathered, &gone, 50);
        assert_eq!(json["gone"], json!([{ "name": "e", "last_seen_s": 7 }]));
        assert_eq!(
            json["workers"][0],
            json!({ "name": "a", "known": true, "answer": "ok", "pid": 7, "jobs_done": 3 })
        );
        assert_eq!((&json["complete"], &json["missing"]), (&json!(false), &json!(["b"])));
        let text = as_text(&gathered, &gone, 50);
        assert!(
            text.contains("2 of 3 known workers answered within 50 ms: incomplete, no answer from b"),
            "{text}"
        );
        assert!(text.contains("2 late answers") && text.contains("last seen 7 s ago"), "{text}");
        assert!(!text.contains('\u{1b}'), "a control sequence reaches the terminal");
    }
}
