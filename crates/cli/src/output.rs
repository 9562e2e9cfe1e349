//! Lists in the forms `--format` names: a table, JSON, or a template for each row.

use serde_json::Value;

use crate::error::{Failure, Outcome};
use crate::template::Template;
use crate::{printer, table};

/// A column: the field of the row and its heading.
pub type Column = (&'static str, &'static str);

/// Prints rows. `columns` are those of the plain table; `headings` name further fields for `table {{.Field}}`.
///
/// # Errors
/// If the template makes no sense.
pub fn print(format: Option<&str>, rows: &[Value], columns: &[Column], headings: &[Column]) -> Outcome<()> {
    let failed = |error: crate::template::TemplateError| Failure::new(error.to_string());
    match format {
        None | Some("" | "table") => {
            let text = |row: &Value, field: &str| row.get(field).map(shown).unwrap_or_default();
            let mut lines = vec![columns.iter().map(|(_, heading)| (*heading).to_owned()).collect::<Vec<_>>()];
            lines.extend(rows.iter().map(|row| columns.iter().map(|(field, _)| text(row, field)).collect()));
            printer::raw(table::layout(&lines).as_bytes());
        }
        Some("json") => rows.iter().for_each(|row| printer::line(&crate::json::line(row))),
        Some(format) => {
            if let Some(cells) = format.strip_prefix("table ") {
                let template = Template::parse(cells).map_err(failed)?;
                let heading: serde_json::Map<String, Value> =
                    columns.iter().chain(headings).map(|(field, heading)| ((*field).to_owned(), (*heading).into())).collect();
                let mut lines = Vec::new();
                for row in std::iter::once(&Value::Object(heading)).chain(rows) {
                    let line = template.apply(row).map_err(failed)?;
                    lines.push(line.split('\t').map(str::to_owned).collect());
                }
                printer::raw(table::layout(&lines).as_bytes());
                return Ok(());
            }
            let template = Template::parse(format).map_err(failed)?;
            for row in rows {
                printer::line(&template.apply(row).map_err(failed)?);
            }
        }
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Prints one object: as JSON or by a template.
///
/// # Errors
/// If the template makes no sense.
pub fn object(format: Option<&str>, value: &Value) -> Outcome<()> {
    match format {
        Some("json") => printer::line(&crate::json::line(value)),
        Some(format) => {
            let failed = |error: crate::template::TemplateError| Failure::new(error.to_string());
            printer::line(&Template::parse(format).map_err(failed)?.apply(value).map_err(failed)?);
        }
        None => printer::line(&serde_json::to_string_pretty(value).unwrap_or_default()),
    }
    Ok(())
}
