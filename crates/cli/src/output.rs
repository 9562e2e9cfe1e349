//! Lists in the forms `--format` names: a table, JSON, or a template for each row.

use serde_json::Value;

use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::ordered::Ordered;
use crate::template::{Mode, Template, TemplateError, Value as Shown};
use crate::{config, printer, table, terminal};

/// A column: the field of the row and its heading.
pub type Column = (&'static str, &'static str);

/// The kind of the rows of `ps`.
pub const CONTAINERS: &str = "*formatter.ContainerContext";

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct List<'a> {
    /// Name of the row's type in Docker's errors, such as `*formatter.ContainerContext`.
    pub kind: &'static str,
    /// `--format`.
    pub format: Option<&'a str>,
    /// Whether nothing may be shortened.
    pub whole: bool,
    /// Columns of the plain table.
    pub columns: &'a [Column],
    /// Headings of further fields, for `table {{.Field}}`.
    pub headings: &'a [Column],
    /// Fields of `--format raw` and what stands before each; none if that is a template like any other.
    pub raw: &'a [Column],
    /// The one field of `--quiet`.
    pub quiet: Option<&'static str>,
}

/// Prints rows. `columns` are those of the plain table; `headings` name further fields for `table {{.Field}}`.
///
/// # Errors
/// If the template makes no sense.
pub fn print(format: Option<&str>, rows: &[Value], columns: &[Column], headings: &[Column]) -> Outcome<()> {
    List { kind: "*formatter.SubContext", format, columns, headings, ..List::default() }.print(rows)
}

impl List<'_> {
    /// Prints rows.
    ///
    /// # Errors
    /// If the template makes no sense; nothing is printed then.
    pub fn print(&self, rows: &[Value]) -> Outcome<()> {
        printer::raw(self.text(rows)?.as_bytes());
        Ok(())
    }

    /// What [`List::print`] prints.
    ///
    /// # Errors
    /// If the template makes no sense.
    pub fn text(&self, rows: &[Value]) -> Outcome<String> {
        let format = self.format.unwrap_or_default();
        let (tabular, cells) = format.strip_prefix("table").map_or((false, format), |cells| (true, cells));
        match cells.trim() {
            "" if format.is_empty() || tabular => Ok(self.quiet.map_or_else(|| self.table(rows), |field| ids(rows, field))),
            "raw" if !self.raw.is_empty() => Ok(rows.iter().map(|row| self.block(row)).collect()),
            "json" => Ok(rows.iter().map(|row| crate::json::line(row) + "\n").collect()),
            cells => {
                let template = Template::of_list(cells).map_err(|error| self.failed("parse", &error))?;
                let apply =
                    |row: &Value| template.on(&Shown::row(self.kind, row), Mode::Lenient).map_err(|error| self.failed("execute", &error));
                let lines = rows.iter().map(apply).collect::<Outcome<Vec<_>>>()?;
                if !tabular {
                    return Ok(lines.iter().map(|line| format!("{line}\n")).collect());
                }
                let heading =
                    self.columns.iter().chain(self.headings).map(|(field, heading)| ((*field).to_owned(), (*heading).into())).collect();
                let heading =
                    template.on(&Shown::from(&Value::Object(heading)), Mode::Heading).map_err(|error| self.failed("execute", &error))?;
                let split = |line: &str| line.split('\t').map(str::to_owned).collect();
                Ok(table::layout(&std::iter::once(&heading).chain(&lines).map(|line| split(line)).collect::<Vec<_>>()))
            }
        }
    }

    /// A row in lines. **Source:** docker/cli, `formatter.RawFormatKey`, where an empty field has no blank before it.
    fn block(&self, row: &Value) -> String {
        let line =
            |(field, name): &Column| format!("{name}: {}", row.get(field).map(shown).unwrap_or_default()).trim_end().to_owned() + "\n";
        match self.quiet {
            Some(only) => self.raw.iter().filter(|(field, _)| *field == only).map(line).collect(),
            None => self.raw.iter().map(line).chain(["\n".to_owned()]).collect(),
        }
    }

    /// `ps` tries its template before it asks for anything, and says so.
    fn failed(&self, what: &str, error: &TemplateError) -> Failure {
        if self.kind == CONTAINERS {
            return Failure::new(format!("failed to {what} template: {}", error.plain()));
        }
        Failure::new(error.to_string())
    }

    fn table(&self, rows: &[Value]) -> String {
        let text = |row: &Value, field: &str| row.get(field).map(shown).unwrap_or_default();
        let mut lines = vec![self.columns.iter().map(|(_, heading)| (*heading).to_owned()).collect::<Vec<_>>()];
        lines.extend(rows.iter().map(|row| self.columns.iter().map(|(field, _)| text(row, field)).collect()));
        if !printer::stdout_is_terminal() {
            return table::layout(&lines);
        }
        if let Some(columns) = terminal::columns().filter(|_| !self.whole) {
            table::fit(&mut lines, columns);
        }
        table::layout_coloured(&lines, if printer::colours() { colour } else { |_, _| None })
    }
}

/// Escape of the colour of a state, for those who look at a terminal.
fn colour(heading: &str, cell: &str) -> Option<&'static str> {
    const GREEN: &str = "\x1b[32m";
    const YELLOW: &str = "\x1b[33m";
    const RED: &str = "\x1b[31m";
    if heading != "STATUS" {
        return None;
    }
    let trouble = ["(unhealthy)", "(Paused)", "(health: starting)"].iter().any(|word| cell.contains(word));
    match cell {
        _ if cell.starts_with("Up") && trouble => Some(YELLOW),
        _ if cell.starts_with("Up") => Some(GREEN),
        _ if cell.starts_with("Restarting") => Some(YELLOW),
        _ if cell.starts_with("Exited (0)") || !cell.starts_with("Exited") => None,
        _ => Some(RED),
    }
}

/// The format of a list: `--format`, or the setting of the client's configuration; not for bare ids.
#[must_use]
pub fn format(given: &Given, setting: &str) -> Option<String> {
    given.get("format").map(str::to_owned).or_else(|| config::setting(setting).filter(|_| !given.on("quiet")))
}

/// A map as lists show it: `a=1,b=2`, sorted.
#[must_use]
pub fn pairs(map: &Value) -> String {
    let pairs = map.as_object().into_iter().flatten().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(",")
}

/// One field of each row.
fn ids(rows: &[Value], field: &str) -> String {
    rows.iter().map(|row| row.get(field).map(shown).unwrap_or_default() + "\n").collect()
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
            let failed = |error: TemplateError| Failure::new(error.to_string());
            printer::line(&Template::parse(format).map_err(failed)?.apply(value).map_err(failed)?);
        }
        None => printer::line(&serde_json::to_string_pretty(value).unwrap_or_default()),
    }
    Ok(())
}

/// Prints one object of Docker's own types by a template; `name` is the template's and `kind` the type's name in errors.
///
/// # Errors
/// If the template makes no sense: exit code 64, or 1 if it does not fit the object.
pub fn structure(name: &'static str, kind: &'static str, format: &str, value: &Ordered) -> Outcome<()> {
    if format == "json" {
        printer::line(&value.json_plain());
        return Ok(());
    }
    let template = Template::named(name, format).map_err(|error| Failure::Message { message: error.to_string(), code: 64, run: false })?;
    match template.on(&Shown::structure(kind, value), Mode::Lenient) {
        Ok(text) => {
            printer::line(&text);
            Ok(())
        }
        Err(error) => {
            printer::line("");
            Err(Failure::new(error.plain()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[("ID", "CONTAINER ID"), ("Names", "NAMES")];

    fn text(format: &str) -> String {
        let rows = [json!({"ID": "1", "Names": "a"}), json!({"ID": "2", "Names": "b>c"})];
        let list = List {
            kind: CONTAINERS,
            format: Some(format),
            columns: COLUMNS,
            headings: &[("Size", "SIZE")],
            raw: &[("ID", "container_id"), ("Labels", "labels")],
            ..List::default()
        };
        list.text(&rows).unwrap_or_else(|failure| failure.text("").unwrap_or_default())
    }

    #[test]
    fn rows_take_every_form() {
        assert_eq!(text("raw"), "container_id: 1\nlabels:\n\ncontainer_id: 2\nlabels:\n\n");
        assert_eq!(text("{{.ID}}\\t{{.Names}}"), "1\ta\n2\tb>c\n");
        assert_eq!(text("json"), "{\"ID\":\"1\",\"Names\":\"a\"}\n{\"ID\":\"2\",\"Names\":\"b\\u003ec\"}\n");
        assert_eq!(text("table {{.Names}}\\t{{upper .ID}}"), "NAMES     CONTAINER ID\na         1\nb>c       2\n");
        assert_eq!(text("table"), "CONTAINER ID   NAMES\n1              a\n2              b>c\n");
        assert_eq!(
            text("{{.Foo}}"),
            "failed to execute template: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ContainerContext"
        );
        assert_eq!(text("{{foo}}"), "failed to parse template: template: :1: function \"foo\" not defined");
    }
}
