//! Columns as Docker lays them out. **Source:** docker/cli, tabwriter with minimal width 10 and padding 3.

/// Columns narrower than this are not shortened.
const NARROW: usize = 12;

/// Headings of what a person copies: never shortened.
const KEPT: [&str; 7] = ["CONTAINER ID", "IMAGE ID", "NETWORK ID", "ID", "NAMES", "NAME", "VOLUME NAME"];

/// The escape's colour of a cell under a heading.
type Colour = fn(&str, &str) -> Option<&'static str>;

/// Lays rows out in columns; the last column is not padded.
#[must_use]
pub fn layout(rows: &[Vec<String>]) -> String {
    layout_from(rows, 10, |_, _| None)
}

/// The same with the wide columns of `top`.
#[must_use]
pub fn layout_wide(rows: &[Vec<String>]) -> String {
    layout_from(rows, 20, |_, _| None)
}

/// The same in colours, which do not count as letters. The first row has the headings.
#[must_use]
pub fn layout_coloured(rows: &[Vec<String>], colour: Colour) -> String {
    layout_from(rows, 10, colour)
}

/// Letters of a column's widest cell.
fn widest(rows: &[Vec<String>], column: usize) -> usize {
    rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
}

fn layout_from(rows: &[Vec<String>], width_min: usize, colour: Colour) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(|column| widest(rows, column).saturating_add(3).max(width_min)).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let heading = rows[0].get(column).map_or("", String::as_str);
            match colour(heading, cell).filter(|_| index > 0) {
                Some(escape) => text.extend([escape, cell, "\x1b[0m"]),
                None => text.push_str(cell),
            }
            if column + 1 < row.len() {
                text.extend(std::iter::repeat_n(' ', widths[column] - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

/// Shortens the widest columns until the table fits; names and ids stay whole.
pub fn fit(rows: &mut [Vec<String>], width: usize) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let mut limits: Vec<usize> = (0..columns).map(|column| widest(rows, column)).collect();
    let kept: Vec<bool> = (0..columns).map(|column| rows[0].get(column).is_some_and(|heading| KEPT.contains(&heading.as_str()))).collect();
    let total = |limits: &[usize]| {
        let padded = limits.iter().rev().skip(1).map(|limit| limit.saturating_add(3).max(10)).sum::<usize>();
        padded.saturating_add(limits.last().copied().unwrap_or_default())
    };
    while total(&limits) > width {
        let widest = (0..columns).filter(|column| !kept[*column] && limits[*column] > NARROW).max_by_key(|column| limits[*column]);
        let Some(column) = widest else {
            break;
        };
        limits[column] -= 1;
    }
    for row in rows.iter_mut() {
        for (cell, limit) in row.iter_mut().zip(&limits) {
            if cell.chars().count() > *limit {
                *cell = cell.chars().take(limit.saturating_sub(1)).chain(['…']).collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(lines: &[&[&str]]) -> Vec<Vec<String>> {
        lines.iter().map(|line| line.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn columns_are_at_least_ten_wide() {
        assert_eq!(layout(&rows(&[&["ID", "NAME"], &["abcdefghijkl", "x"]])), "ID             NAME\nabcdefghijkl   x\n");
    }

    #[test]
    fn a_table_is_made_to_fit_and_names_stay_whole() {
        let long = "a-very-long-reference/of/an-image:with-a-tag";
        let mut lines = rows(&[&["CONTAINER ID", "IMAGE", "NAMES"], &["0123456789ab", long, "a-very-long-name-of-a-container"]]);
        fit(&mut lines, 70);
        let text = layout(&lines);
        assert!(text.lines().all(|line| line.chars().count() <= 70), "{text}");
        assert!(text.contains("a-very-long-name-of-a-container") && text.contains("0123456789ab") && text.contains('…'), "{text}");
        let mut lines = rows(&[&["A", "B"], &[long, "x"]]);
        let before = lines.clone();
        fit(&mut lines, 200);
        assert_eq!(lines, before);
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let lines = rows(&[&["STATUS", "NAMES"], &["Up 2 hours", "x"]]);
        let text = layout_coloured(&lines, |_, _| Some("\x1b[32m"));
        assert_eq!(text, "STATUS       NAMES\n\x1b[32mUp 2 hours\x1b[0m   \x1b[32mx\x1b[0m\n");
    }
}
