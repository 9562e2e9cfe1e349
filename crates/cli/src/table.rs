//! Columns as Docker lays them out. **Source:** docker/cli, tabwriter with minimal width 10 and padding 3.

/// Lays rows out in columns; the last column is not padded.
#[must_use]
pub fn layout(rows: &[Vec<String>]) -> String {
    layout_from(rows, 10)
}

/// The same with the wide columns of `top`.
#[must_use]
pub fn layout_wide(rows: &[Vec<String>]) -> String {
    layout_from(rows, 20)
}

fn layout_from(rows: &[Vec<String>], width_min: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
            .saturating_add(3)
            .max(width_min)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if column + 1 < row.len() {
                line.extend(std::iter::repeat_n(' ', widths[column] - cell.chars().count()));
            }
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_at_least_ten_wide() {
        let rows = [vec!["ID".to_owned(), "NAME".to_owned()], vec!["abcdefghijkl".to_owned(), "x".to_owned()]];
        assert_eq!(super::layout(&rows), "ID             NAME\nabcdefghijkl   x\n");
    }
}
