//! Rows as comma-separated values (RFC 4180), with one line of names.

use anyhow::Result;

use super::row::Row;

/// All rows, with their names first. Numbers have a point and no thousands, and nothing is rounded.
pub(crate) fn csv(rows: &[Row]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        let mut row = row.clone();
        row.texts().into_iter().for_each(|text| *text = inert(text));
        writer.serialize(&row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// A field that a spreadsheet does not take for a formula, on one line.
pub(crate) fn inert(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}
